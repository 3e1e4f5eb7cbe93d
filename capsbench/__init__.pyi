# One source for the type checker and, through lazy_loader, for `capsbench/__init__.py`.
from . import datamodules as datamodules
from . import errors as errors
from . import models as models
from .catalog import create_datamodule as create_datamodule
from .catalog import create_model as create_model
from .catalog import list_benchmarks as list_benchmarks
from .catalog import list_datamodules as list_datamodules
from .catalog import list_measures as list_measures
from .catalog import list_models as list_models
from .evaluation import evaluate as evaluate
from .reporting.loading import load_results as load_results
from .running.run import run as run
from .training.recipe import Recipe as Recipe
from .training.task import Task as Task
from .viewpoint.ranges import ViewRange as ViewRange

__version__: str
