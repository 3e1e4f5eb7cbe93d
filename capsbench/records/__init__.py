"""Records: typed contents of every file that a run leaves behind, and the layout of the folders."""

from capsbench.records.benchmark import BenchmarkRecord as BenchmarkRecord
from capsbench.records.benchmark import CellReference as CellReference
from capsbench.records.benchmark import ProtocolChanges as ProtocolChanges
from capsbench.records.claims import ClaimsRecord as ClaimsRecord
from capsbench.records.failure import FailureRecord as FailureRecord
from capsbench.records.folders import BenchmarkFolder as BenchmarkFolder
from capsbench.records.folders import CellFolder as CellFolder
from capsbench.records.folders import benchmarks_in as benchmarks_in
from capsbench.records.measure import MeasureRecord as MeasureRecord
from capsbench.records.provenance import Provenance as Provenance
from capsbench.records.results import CellResult as CellResult
from capsbench.records.results import Results as Results
from capsbench.records.results import load_cell as load_cell
from capsbench.records.results import load_results as load_results
from capsbench.records.search import SearchRecord as SearchRecord
from capsbench.records.search import Trial as Trial
from capsbench.records.training import TrainingConfig as TrainingConfig
from capsbench.records.training import TrainingRecord as TrainingRecord
from capsbench.records.weights import WeightsRecord as WeightsRecord
