"""Consistency: whether a model says the same of an image from another view, right or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from capsbench.errors import UserError


def consistency(predictions: Tensor, moved: Tensor) -> Tensor:
    """P[argmax f(T_g x) = argmax f(x)] over images x, for each view g.

    Article, eq. 0, asked of the answer alone. Zhang (2019) compares two shifts at random, Azulay &
    Weiss (2019) an image with itself one pixel away. A model that always gives the same answer is
    wholly consistent: read it beside the accuracy.

    Args:
        predictions: (N,) classes f(x).
        moved: (V, N) classes f(T_g x).

    Returns:
        (V,) float64; over views too, it is their mean. NaN where there is no image.
    """
    return (moved == predictions).double().mean(dim=1)


class Consistency(Metric):
    """`consistency` over batches and processes: ``compute`` gives (V,), one of each view.

    Args:
        views: V.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    agreed: Tensor
    images: Tensor

    def __init__(self, views: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("agreed", torch.zeros(views, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, moved: Tensor) -> None:
        """Add images.

        Args:
            predictions: (B,) classes f(x).
            moved: (V, B) classes f(T_g x), of all V views.

        Raises:
            UserError: There are more or fewer views.
        """
        if len(moved) != len(self.agreed):
            raise UserError(
                f"consistency over {len(self.agreed)} views needs what the model says from each of "
                f"them; got {len(moved)} views"
            )
        self.agreed += (moved == predictions).sum(dim=1)
        self.images += len(predictions)

    def compute(self) -> Tensor:
        """(V,), see `consistency`."""
        return self.agreed.double() / self.images

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Draw consistency view by view, or the values that are given."""
        if val is not None:
            return self._plot(val, ax)
        drawn: Any = self._plot({"same answer as unmoved": self.compute()}, ax)
        drawn[1].set_xlabel("view")
        return drawn
