"""Measures of a trained model's behavior under changes of viewpoint, one file each."""

from capsbench.measures._config import GridMeasureConfig as GridMeasureConfig
from capsbench.measures._config import LayerMeasureConfig as LayerMeasureConfig
from capsbench.measures._config import MeasureConfig as MeasureConfig
from capsbench.measures._config import Name as Name
from capsbench.measures._config import TestSplit as TestSplit
from capsbench.measures._figures import ConditionFigureSpec as ConditionFigureSpec
from capsbench.measures._figures import FigureSpec as FigureSpec
from capsbench.measures._figures import HeatMapFigureSpec as HeatMapFigureSpec
from capsbench.measures._figures import LayerFigureSpec as LayerFigureSpec
from capsbench.measures._figures import LineSpec as LineSpec
from capsbench.measures._figures import ViewFigureSpec as ViewFigureSpec
from capsbench.measures._measure import Headline as Headline
from capsbench.measures._measure import Measure as Measure
from capsbench.measures._measure import MeasureContext as MeasureContext
from capsbench.measures._measure import ValueSpec as ValueSpec
from capsbench.measures._measure import load_measure as load_measure
from capsbench.measures._measure import parse_config as parse_config
from capsbench.measures._measure import run_measure as run_measure
from capsbench.measures._result import MeasureResult as MeasureResult
from capsbench.measures._result import index_name as index_name
