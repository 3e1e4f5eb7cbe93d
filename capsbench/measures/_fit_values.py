"""Values and per-image arrays of equivariance maps that were fitted class by class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from capsbench.measures._composed_views import ViewCompositions
from capsbench.measures._equivariance_maps import EquivarianceShares
from capsbench.measures._group_law import group_law_of_maps
from capsbench.measures._per_class_fit import ClassFit, HeldOutErrors, join_classes
from capsbench.measures._result import Array
from capsbench.statistics.influence import difference_share_influence, explained_share_influence
from capsbench.values import Quantity
from capsbench.viewpoint.grid import GridView


def layer_values(
    layer: str,
    fits: Sequence[ClassFit],
    views: Sequence[GridView],
    compositions: Mapping[str, ViewCompositions],
) -> Iterator[tuple[Quantity, Tensor]]:
    """Yield all quantities of a layer with their numbers, also undefined ones."""
    maps = join_classes([fit.maps for fit in fits])
    for metric, number in maps.overall()._asdict().items():
        yield Quantity(metric=metric, layer=layer), number
    shares = maps.by_view()
    for row, view in enumerate(views):
        at_view = EquivarianceShares(*(share[row] for share in shares))
        for metric, number in at_view._asdict().items():
            yield (
                Quantity(metric=metric, factor=view.factor, view=view.value, layer=layer),
                number,
            )
    for factor, each in compositions.items():
        composed, triples = maps, each.view_indices[each.triples]
        if each.table is not None:
            composed, triples = join_classes([fit.group_maps[factor] for fit in fits]), each.triples
            overall = composed.overall()
            for metric in ("explained", "gain_over_control", "r2_over_control"):
                quantity = Quantity(metric=f"group_{metric}", factor=factor, layer=layer)
                yield quantity, getattr(overall, metric)
        if len(triples):
            law = group_law_of_maps(composed, triples.to(maps.maps.device))
            for term, numbers in law._asdict().items():
                quantity = Quantity(metric=f"group_law_{term}", factor=factor, layer=layer)
                yield quantity, numbers.mean()


def per_image_errors(fits: Mapping[str, Sequence[ClassFit]], names: set[str]) -> dict[str, Array]:
    """Return arrays of the held-out images, class by class, by name.

    For each layer there are ``residual`` and ``change``, (N, V), and the influence on
    ``gain_over_control`` and ``r2_over_control`` over all views, also of the maps of groups, (N,).

    Args:
        fits: The fits of the classes by layer.
        names: Names of the quantities that have a finite value.
    """
    arrays: dict[str, Array] = {}
    for layer, layer_fits in fits.items():
        errors = _join([fit.errors for fit in layer_fits])
        arrays[Quantity(metric="residual", layer=layer).name] = errors.residual
        arrays[Quantity(metric="change", layer=layer).name] = errors.change
        influences = {
            Quantity(metric=metric, layer=layer): influence
            for metric, influence in _influences(errors).items()
        }
        for factor in layer_fits[0].group_errors:
            group = _join([fit.group_errors[factor] for fit in layer_fits])
            for metric, influence in _influences(group).items():
                influences[Quantity(metric=f"group_{metric}", factor=factor, layer=layer)] = (
                    influence
                )
        arrays |= {each.name: array for each, array in influences.items() if each.name in names}
    return arrays


def _join(errors: Sequence[HeldOutErrors]) -> HeldOutErrors:
    """Return the errors of all classes as one."""
    return HeldOutErrors(*map(np.concatenate, zip(*errors, strict=True)))


def _influences(errors: HeldOutErrors) -> dict[str, Array]:
    """Return the influence of each image, (N,), on the shares over all views, by metric."""
    residual, _, control, spread, best = (
        torch.from_numpy(each).double().sum(dim=1) for each in errors
    )
    influences = {
        "gain_over_control": explained_share_influence(residual, control),
        "r2_over_control": difference_share_influence(best, residual, spread),
    }
    return {metric: influence.numpy() for metric, influence in influences.items()}
