"""Consistency: whether a model says the same of an image from another view, right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from capsbench import measures
from capsbench.contracts import Model, class_recall, predicted_classes
from capsbench.data.evaluation import ViewSelection
from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._result import Measured
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views


@torch.inference_mode()
def measure(
    entry: measures.Consistency,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure a model on familiar test images, each beside itself from no view.

    ``<view>/consistency`` is that of one view. ``<factor>/consistency`` is its mean over the
    factor's views, of which those that change nothing do not count, and those that are the same by
    a whole turn count once; ``consistency`` the mean over factors, ``worst/consistency`` the lowest
    of all these views. ``unmoved/accuracy`` stands beside. Of an image with M objects the M
    likeliest classes have to be the same.

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called after each view, for a progress bar.
    """
    rows, views = subset_rows(data, entry.images), entry.grid.views()

    def look(at: ViewSelection) -> tuple[Tensor, Tensor]:
        """(N, K) the classes that the model says, and (N,) whether they are right."""
        said, right = list[Tensor](), list[Tensor]()
        for batch in familiar_batches(data, device, rows, at):
            found = model.log_probabilities(model(batch.images))
            said.append(predicted_classes(found, batch.targets).cpu())
            right.append((class_recall(found, batch.targets) == 1).cpu())
        return torch.cat(said), torch.cat(right)

    unmoved, right = look(Views.identity(1))
    same = torch.empty(len(views), len(rows), dtype=torch.bool)
    for row, view in zip(same, views, strict=True):
        row[:] = agreement(unmoved, look(view)[0][None])[0]
        advance()
    values, notes = _sum_up(views, same.double().mean(dim=1).tolist())
    values["unmoved/accuracy"] = float(right.double().mean())
    samples = {
        "consistent": same.numpy(),
        "correct": right.numpy(),
        "index": data.split("familiar").index[rows].numpy(),
    }
    if "consistency" in values:  # a weighted mean over views: what each weighs, it says itself
        weights = [_sum_up(views, row)[0]["consistency"] for row in np.eye(len(views)).tolist()]
        samples["consistency"] = np.array(weights) @ same.numpy()
    return Measured(values, [], len(rows), samples, notes)


def _sum_up(
    views: Sequence[GridView], found: Sequence[float]
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Values by view, by factor and over all, see `measure`; and notes."""
    values = {f"{view.key}/consistency": share for view, share in zip(views, found, strict=True)}
    counted: dict[str, dict[float, float]] = {view.factor: {} for view in views}
    for view, share in zip(views, found, strict=True):
        place = view.value % view.period if view.period else view.value
        if place != FACTORS[view.factor].identity:
            counted[view.factor][place] = share
    means = {factor: fmean(shares.values()) for factor, shares in counted.items() if shares}
    values |= {f"{factor}/consistency": mean for factor, mean in means.items()}
    if means:
        values["consistency"] = fmean(means.values())
        values["worst/consistency"] = min(
            min(shares.values()) for shares in counted.values() if shares
        )
    notes = (
        f"{factor}/consistency is left out: no view of the grid changes an image."
        for factor in counted.keys() - means.keys()
    )
    return values, tuple(sorted(notes))


def consistency(predictions: Tensor, moved: Tensor) -> Tensor:
    """P[argmax f(T_g x) = argmax f(x)] over images x, for each view g.

    Article, eq. 0, asked of the answer alone. Zhang (2019) compares two shifts at random, Azulay &
    Weiss (2019) an image with itself one pixel away. A model that always gives the same answer is
    wholly consistent: read it beside the accuracy.

    Args:
        predictions: (N,) classes f(x); or (N, K) bool, which classes.
        moved: (V, N) classes f(T_g x), likewise.

    Returns:
        (V,) float64; over views too, it is their mean. NaN where there is no image.
    """
    return agreement(predictions, moved).double().mean(dim=1)


def agreement(predictions: Tensor, moved: Tensor) -> Tensor:
    """(V, N) bool: image by image, see `consistency`. One of no class agrees with nothing."""
    if predictions.dim() == 1:
        return moved == predictions
    return (moved == predictions).all(dim=-1) & predictions.any(dim=-1)


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
            predictions: (B,) classes f(x), or (B, K) bool.
            moved: (V, B) classes f(T_g x), of all V views, likewise.

        Raises:
            UserError: There are more or fewer views.
        """
        if len(moved) != len(self.agreed):
            raise UserError(
                f"consistency over {len(self.agreed)} views needs what the model says from each of "
                f"them; got {len(moved)} views"
            )
        self.agreed += agreement(predictions, moved).sum(dim=1)
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
