"""Accuracy at each view of a grid, as a metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class ViewAccuracy(Metric):
    """Accuracy at each view, over batches and processes.

    Args:
        num_views: V, the number of views.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    correct: Tensor
    total: Tensor

    def __init__(self, num_views: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("correct", "total"):
            self.add_state(name, torch.zeros(num_views, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, view: int, correct: Tensor) -> None:
        """Add images seen from a view. The images may differ from view to view.

        Args:
            view: Position of the view in the grid.
            correct: (B,) bool.
        """
        self.correct[view] += correct.sum()
        self.total[view] += len(correct)

    def compute(self) -> Tensor:
        """Return (V,) float64; NaN for a view without images."""
        return self.correct.double() / self.total

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Draw the accuracy at each view, or the given values."""
        if val is not None:
            return self._plot(val, ax)
        figure_and_axes: Any = self._plot({"accuracy": self.compute()}, ax)
        figure_and_axes[1].set_xlabel("view")
        return figure_and_axes
