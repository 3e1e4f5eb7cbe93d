"""Measures: what a trained model's behaviour under a change of viewpoint amounts to, in numbers.

This module and those of the entries are free of torch, so that a benchmark file can be checked
without it: they hold each measure's arguments. What computes a measure stands in the module of the
same name.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from capsbench.measures.answer_entries import (
    AccuracyBySplit as AccuracyBySplit,
)
from capsbench.measures.answer_entries import (
    AccuracyByView as AccuracyByView,
)
from capsbench.measures.answer_entries import (
    AttackMethod as AttackMethod,
)
from capsbench.measures.answer_entries import (
    Attacks as Attacks,
)
from capsbench.measures.answer_entries import (
    AveragedAccuracy as AveragedAccuracy,
)
from capsbench.measures.answer_entries import (
    Calibration as Calibration,
)
from capsbench.measures.answer_entries import (
    Consistency as Consistency,
)
from capsbench.measures.answer_entries import (
    Cost as Cost,
)
from capsbench.measures.answer_entries import (
    PartWhole as PartWhole,
)
from capsbench.measures.answer_entries import (
    RenderingError as RenderingError,
)
from capsbench.measures.answer_entries import (
    WorstOfK as WorstOfK,
)
from capsbench.measures.entry import (
    Entry as Entry,
)
from capsbench.measures.entry import (
    LayerEntry as LayerEntry,
)
from capsbench.measures.entry import (
    Name as Name,
)
from capsbench.measures.entry import (
    TestSplit as TestSplit,
)
from capsbench.measures.layer_entries import (
    Direction as Direction,
)
from capsbench.measures.layer_entries import (
    Filters as Filters,
)
from capsbench.measures.layer_entries import (
    InvarianceError as InvarianceError,
)
from capsbench.measures.layer_entries import (
    LieDerivative as LieDerivative,
)
from capsbench.measures.layer_entries import (
    LinearEquivariance as LinearEquivariance,
)
from capsbench.measures.layer_entries import (
    PoseReadout as PoseReadout,
)
from capsbench.measures.layer_entries import (
    SpatialEquivariance as SpatialEquivariance,
)

MeasureEntry = Annotated[
    AccuracyByView
    | AccuracyBySplit
    | Attacks
    | AveragedAccuracy
    | Calibration
    | Consistency
    | Cost
    | Filters
    | InvarianceError
    | LieDerivative
    | LinearEquivariance
    | PartWhole
    | PoseReadout
    | RenderingError
    | SpatialEquivariance
    | WorstOfK,
    Field(discriminator="measure"),
]
