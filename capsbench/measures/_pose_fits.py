"""Fits of the change of fibres, such as poses, by view and over the views of a factor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from capsbench.contracts import Batch
from capsbench.data.folds import folds_by_image
from capsbench.measures._errors_by_view import ConditionOf, Pair, no_condition
from capsbench.measures._paired_activations import Activations
from capsbench.measures._result import Array
from capsbench.values import Quantity, Value, select
from capsbench.viewpoint.grid import GridView

if TYPE_CHECKING:
    from capsbench.metrics.pose_equivariance import PoseEquivariance, PoseFit

FibresOf = Callable[[GridView, str, Tensor, Tensor], Pair | None]


class PoseFits:
    """Affine maps of the fibres of layers, such as poses, fitted view after view.

    An `ActivationListener`.

    Args:
        layers: Names of the layers.
        fibres_of: Function from a view, a layer's name, and its activations for images and for the
            same images from the view, to the fibres (N, C, D, P) before and after the fitted map;
            None for a view that is left out.
        condition_of: Function from a view and a layer's name to the conditions of its values.
    """

    def __init__(
        self, layers: Iterable[str], fibres_of: FibresOf, condition_of: ConditionOf = no_condition
    ) -> None:
        self.layers = tuple(layers)
        self.fibres_of = fibres_of
        self.condition_of = condition_of
        self.metrics: dict[str, PoseEquivariance] = {}  # of one view after another
        self.by_factor: dict[Quantity, list[PoseFit]] = {}  # by identity without a metric
        self.by_view: list[tuple[Quantity, Tensor]] = []

    def update(self, view: GridView, batch: Batch, f_x: Activations, f_gx: Activations) -> None:
        """Add a batch of images, with their activations as stored and from the view."""
        from capsbench.metrics.pose_equivariance import PoseEquivariance

        for name in self.layers:
            fibres = self.fibres_of(view, name, f_x[name], f_gx[name])
            if fibres is None:
                continue
            before, after = fibres
            if name not in self.metrics:
                # Every process sees the same images: there is nothing to sum over processes.
                self.metrics[name] = PoseEquivariance(before.shape[1:], sync_on_compute=False)
                self.metrics[name].to(before.device)
            self.metrics[name].update(before, after, folds_by_image(batch.index))

    def finish_view(self, view: GridView) -> None:
        """Fit the maps of a view; the next view has other positions."""
        for name, metric in self.metrics.items():
            fit = metric.compute()
            condition = dict(self.condition_of(view, name))
            all_views = Quantity(metric="", factor=view.factor, layer=name, condition=condition)
            at_view = all_views.model_copy(update={"view": view.value})
            self.by_view += _with_metrics(at_view, fit)
            if not view.is_identity:
                self.by_factor.setdefault(all_views, []).append(fit)
        self.metrics.clear()

    def values(self) -> list[tuple[Quantity, Tensor]]:
        """Return all quantities with their values, also undefined ones."""
        from capsbench.metrics.pose_equivariance import combine_fits  # which imports torchmetrics

        return self.by_view + [
            value
            for quantity, fits in self.by_factor.items()
            for value in _with_metrics(quantity, combine_fits(fits))
        ]

    def values_with_errors(
        self, values: Sequence[Value], *, error: str, remaining: str
    ) -> Iterator[tuple[Quantity, Tensor]]:
        """Yield all values, and the errors that the fitted maps leave of those of a measure.

        Args:
            values: Values of the measure.
            error: Metric of its error.
            remaining: Metric of what is left: the error times √(1 - explained).
        """
        errors = {value.quantity: value.value for value in select(values, metric=error)}
        yield from self.values()
        for quantity, explained in self.values():
            before = quantity.model_copy(update={"metric": error})
            if quantity.metric == "explained" and before in errors:
                share = (1 - explained).clamp_min(0).sqrt()
                yield quantity.model_copy(update={"metric": remaining}), errors[before] * share


def num_held_out(index: Array) -> int:
    """Return the number of images on which fitted maps are tested, of those with numbers (N,)."""
    return int(folds_by_image(torch.from_numpy(index)).held_out.sum())


def _with_metrics(quantity: Quantity, fit: PoseFit) -> list[tuple[Quantity, Tensor]]:
    return [
        (quantity.model_copy(update={"metric": key}), value) for key, value in fit.values.items()
    ]
