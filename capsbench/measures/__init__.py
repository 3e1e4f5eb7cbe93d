"""Measures: what a trained model's behaviour under a change of viewpoint amounts to, in numbers.

This module is free of torch, so that a benchmark file can be checked without it: it holds each
measure's arguments. What computes a measure stands in the module of the same name.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from capsbench.viewpoint.ranges import ViewGrid


class AccuracyByView(BaseModel):
    """Accuracy on every test image at every view of a grid."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: Literal["accuracy-by-view"]
    grid: ViewGrid

    @property
    def module(self) -> str:
        """The module whose function ``measure`` computes it."""
        return "capsbench.measures.accuracy_by_view"


MeasureEntry = AccuracyByView
