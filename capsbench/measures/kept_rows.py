"""Metrics that keep rows of all batches and processes, and compute from all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class KeptRows(Metric):
    """Keeps tensors of rows; memory grows with the rows, by 8 bytes a number.

    A process without any row sends an empty list of numbers of the metric's own dtype. So all are
    kept flat, and in float64, and get their shape again when the rows are counted.

    Args:
        names: Of the tensors that are kept.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self, names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names = tuple(names)
        self.set_dtype(torch.float64)
        for name in names:
            self.add_state(name, [], dist_reduce_fx="cat")

    def keep(self, *given: Tensor) -> None:
        """Keep some rows of each tensor, in the order of the names; on the device of the first."""
        for name, rows in zip(self.names, given, strict=True):
            getattr(self, name).append(rows.to(given[0].device, torch.float64).flatten())

    def kept(self) -> list[Tensor]:
        """All that was kept, flat and in float64, in the order of the names."""
        return [dim_zero_cat(getattr(self, name)) for name in self.names]
