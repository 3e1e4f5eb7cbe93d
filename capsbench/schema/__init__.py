"""Schema of benchmark files and files of claims, and functions that read them."""

from capsbench.schema.added import RequestedModels as RequestedModels
from capsbench.schema.added import parse_models as parse_models
from capsbench.schema.benchmark import Benchmark as Benchmark
from capsbench.schema.claims import Claims as Claims
from capsbench.schema.claims import benchmark_names as benchmark_names
from capsbench.schema.claims import is_claims as is_claims
from capsbench.schema.claims import load_claims as load_claims
from capsbench.schema.loading import build_benchmark as build_benchmark
from capsbench.schema.loading import load_benchmark as load_benchmark
from capsbench.schema.loading import parse_changes as parse_changes
from capsbench.schema.loading import searched_variant as searched_variant
from capsbench.schema.loading import variants as variants
from capsbench.schema.parts import DataEntry as DataEntry
from capsbench.schema.parts import Matched as Matched
from capsbench.schema.parts import ModelEntry as ModelEntry
from capsbench.schema.parts import Published as Published
from capsbench.schema.parts import Variation as Variation
from capsbench.schema.search import Search as Search
