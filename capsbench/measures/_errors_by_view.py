"""Errors between the outputs of layers for images and for the same images from each view."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.contracts import Batch, LayerOfInterest, Model
from capsbench.data.images import ImageDataModule
from capsbench.measures._config import LayerMeasureConfig
from capsbench.measures._image_subset import image_subset
from capsbench.measures._measure import MeasureContext, ValueSpec
from capsbench.measures._nonfinite import drop_nonfinite
from capsbench.measures._paired_activations import Activations, paired_activations
from capsbench.measures._result import Array, MeasureResult, index_name
from capsbench.statistics.influence import influence_values
from capsbench.values import Condition, Quantity
from capsbench.viewpoint.grid import GridView

if TYPE_CHECKING:
    from capsbench.metrics.invariance import FeatureDistances, FeatureInvariance

Pair = tuple[Tensor, Tensor]  # (N, ...) each
# From a view, a layer's name, and its activations for images and for the same images from the view:
# the pairs that are compared, by the name that metrics begin with. Views may have none.
Compare = Callable[[GridView, str, Tensor, Tensor], dict[str, Pair]]
# From a view and a layer's name: the conditions of its values.
ConditionOf = Callable[[GridView, str], Mapping[str, Condition]]
SEVERAL_OBJECTS = "no class error: images hold several objects, of several classes"


class LayerComparison(NamedTuple):
    """A pair that is compared in a layer.

    Attributes:
        name: Name that metrics begin with.
        layer: Name of the layer.
        condition: Conditions of its values. Views under different conditions are not averaged.
    """

    name: str
    layer: str
    condition: tuple[tuple[str, Condition], ...] = ()

    def quantity(self, term: str, factor: str | None = None, view: float | None = None) -> Quantity:
        """Return the identity of a number of this comparison."""
        return Quantity(
            metric=f"{self.name}_{term}",
            factor=factor,
            view=view,
            layer=self.layer,
            condition=dict(self.condition),
        )


class ActivationListener(Protocol):
    """A further computation on the same activations, view after view."""

    def update(self, view: GridView, batch: Batch, f_x: Activations, f_gx: Activations) -> None:
        """Add a batch of images, with their activations as stored and from the view."""

    def finish_view(self, view: GridView) -> None:
        """Complete a view after its last batch."""


def error_metrics(name: str, description: str) -> dict[str, ValueSpec]:
    """Return the metrics of `errors_by_view` for one name of pairs.

    Args:
        name: The name.
        description: Definition of the error.
    """
    return {
        f"{name}_error": ValueSpec(description),
        f"{name}_change": ValueSpec(
            "Root mean square distance between the two features of an image, the numerator of the "
            f"{name} error, in the features' own unit."
        ),
        f"{name}_spread": ValueSpec(
            "Root mean square distance between the features of two images, the denominator of the "
            f"{name} error."
        ),
        f"{name}_class_error": ValueSpec(
            f"The {name} error relative to other images of the same class only."
        ),
        f"{name}_class_spread": ValueSpec(
            "Root mean square distance between the features of two images of the same class."
        ),
    }


def no_condition(_view: GridView, _layer: str) -> Mapping[str, Condition]:
    """Return no condition: all views of a layer are averaged."""
    return {}


def errors_by_view(
    compare: Compare,
    layers: Mapping[str, LayerOfInterest],
    config: LayerMeasureConfig,
    model: Model,
    data: ImageDataModule,
    context: MeasureContext,
    listener: ActivationListener | None = None,
    condition_of: ConditionOf = no_condition,
) -> MeasureResult:
    """Compute the errors of `FeatureDistances` by layer, view and factor, and over all views.

    Metrics are ``<name>_error``, ``<name>_change``, ``<name>_spread``, ``<name>_class_error`` and
    ``<name>_class_spread``, see `error_metrics`. Over views mean squares are averaged with equal
    weights; views that change nothing are left out. Per-image arrays have each image's distance
    (V, N), of the V views that are compared, as ``<name>_distance``, and its contribution to the
    error over all views under that quantity, see `capsbench.statistics.influence`.

    Images are evaluated view by view, as stored and from the view. Memory is that of a batch, and
    for each layer twice (classes x features) in float64, independent of the number of views.

    Args:
        compare: Function from the activations of a layer to the pairs.
        layers: The layers by name.
        config: Arguments of the measure.
        model: The trained model.
        data: The data module.
        context: Device and progress; ``advance`` is called after each view.
        listener: A further computation on the activations.
        condition_of: Function from a view and a layer's name to the conditions of its values.
    """
    views = config.grid.views()
    subset = image_subset(data, views, config.images)
    errors: dict[LayerComparison, dict[int, FeatureDistances]] = {}  # by number of the view
    distances: dict[LayerComparison, list[NDArray[np.float32]]] = {}
    sums: dict[LayerComparison, Tensor] = {}  # (3, N) over views
    multi_hot = False
    metrics: dict[LayerComparison, FeatureInvariance] = {}  # of one view after another
    for row, view in enumerate(views):
        squares: dict[LayerComparison, list[Tensor]] = {}
        for batch, f_x, f_gx in paired_activations(
            model, layers, data, context.device, subset, view
        ):
            multi_hot = batch.targets.dim() == 2
            classes = None if multi_hot else batch.targets
            for layer in layers:
                condition = tuple(condition_of(view, layer).items())
                for name, (x, gx) in compare(view, layer, f_x[layer], f_gx[layer]).items():
                    key = LayerComparison(name, layer, condition)
                    if key not in metrics:
                        metrics[key] = _new_metric(x, None if multi_hot else data.num_classes)
                    metrics[key].update(x, gx, classes)
                    squares.setdefault(key, []).append(_squared_distances(x, gx))
            if listener is not None:
                listener.update(view, batch, f_x, f_gx)
        for key, parts in squares.items():
            error, per_image = metrics[key].compute(), torch.cat(parts, dim=1)
            metrics[key].reset()
            errors.setdefault(key, {})[row] = error
            distances.setdefault(key, []).append(per_image[0].sqrt().float().cpu().numpy())
            if not view.is_identity:
                sums[key] = sums.get(key, 0) + _scale_to_means(per_image, error)
        if listener is not None:
            listener.finish_view(view)
        context.advance()
    n = len(subset.rows)
    terms = _terms(views, errors, with_classes=not multi_hot)
    values, notes = drop_nonfinite((quantity, term, n) for quantity, term in terms)
    arrays: dict[str, Array] = {
        key.quantity("distance").name: np.stack(each) for key, each in distances.items()
    }
    names = {value.name for value in values}
    for key, each in sums.items():
        quantity = key.quantity("error").name
        influence = influence_values(each.unbind(), [0.5, -0.25, -0.25])
        if quantity in names and influence.isfinite().all():
            arrays[quantity] = influence.cpu().numpy()
    arrays[index_name()] = data.split(subset.split).index[subset.rows].numpy()
    notes += (SEVERAL_OBJECTS,) if multi_hot else ()
    return MeasureResult(values, arrays, notes)


def _squared_distances(x: Tensor, gx: Tensor) -> Tensor:
    """Return (3, B): |f(T_g x) - f(x)|² of each image, and its contribution to both spreads.

    The contribution is the squared distance from the mean of the batch, in place of the mean of all
    images, which is available only after the last batch: it only decides how each image weighs.
    """
    x, gx = x.flatten(1).double(), gx.flatten(1).double()
    differences = (gx - x, x - x.mean(dim=0), gx - gx.mean(dim=0))
    return torch.stack([each.square().sum(dim=1) for each in differences])


def _scale_to_means(squares: Tensor, error: FeatureDistances) -> Tensor:
    """Return (3, N) of `_squared_distances`, scaled so that their means are those of the error."""
    means = torch.stack(error[:3]).square()[:, None]
    return squares * (means / squares.mean(dim=1, keepdim=True)).nan_to_num(0)


def _new_metric(x: Tensor, num_classes: int | None) -> FeatureInvariance:
    from capsbench.metrics.invariance import FeatureInvariance  # which imports torchmetrics

    # Every process sees the same images: there is nothing to sum over processes.
    return FeatureInvariance(x[0].numel(), num_classes, sync_on_compute=False).to(x.device)


def _terms(
    views: Sequence[GridView],
    errors: Mapping[LayerComparison, Mapping[int, FeatureDistances]],
    *,
    with_classes: bool,
) -> Iterator[tuple[Quantity, Tensor]]:
    """Yield all quantities with their values, also undefined ones."""
    from capsbench.metrics.invariance import mean_over_views

    nontrivial = [row for row, view in enumerate(views) if not view.is_identity]
    by_factor: dict[str, list[int]] = {}
    for row in nontrivial:
        by_factor.setdefault(views[row].factor, []).append(row)
    groups: list[tuple[str | None, float | None, list[int]]] = [
        *((view.factor, view.value, [row]) for row, view in enumerate(views)),
        *((factor, None, rows) for factor, rows in by_factor.items()),
        *([(None, None, nontrivial)] if nontrivial else []),
    ]
    for key, by_view in errors.items():
        for factor, view, rows in groups:
            if not (measured := [by_view[row] for row in rows if row in by_view]):
                continue
            mean = mean_over_views(measured)
            terms = {"error": mean.error, "change": mean.change, "spread": mean.spread}
            if with_classes:
                terms |= {"class_error": mean.class_error, "class_spread": mean.class_spread}
            for term, value in terms.items():
                yield key.quantity(term, factor, view), value
