"""What a benchmark file may say, and how one is read (no torch)."""

from capsbench.schema.benchmark import Benchmark as Benchmark
from capsbench.schema.loading import load_benchmark as load_benchmark
from capsbench.schema.loading import parse_changes as parse_changes
from capsbench.schema.loading import variants as variants
from capsbench.schema.parts import DataEntry as DataEntry
from capsbench.schema.parts import Matched as Matched
from capsbench.schema.parts import ModelEntry as ModelEntry
from capsbench.schema.parts import Published as Published
from capsbench.schema.parts import Search as Search
from capsbench.schema.parts import Variation as Variation
