"""Equivariance maps of one class at a time, with the errors of each held-out image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.data.folds import Folds
from capsbench.measures._composed_views import ViewCompositions
from capsbench.measures._equivariance_maps import EquivarianceMaps, fit_equivariance_maps
from capsbench.statistics.ridge import predict


class HeldOutErrors(NamedTuple):
    """Squared errors of held-out images in the components, (n, V) each.

    Attributes:
        residual: |f(T_g x) - A_g f(x)|².
        change: |f(T_g x) - f(x)|².
        control: Error of the better control at each view: ``change`` for the identity, or the error
            of the maps of shuffled pairs.
        spread: Squared distance of f(T_g x) from its mean.
        best_control: ``control``, or ``spread`` at the views where it is smaller on average.
    """

    residual: NDArray[Any]
    change: NDArray[Any]
    control: NDArray[Any]
    spread: NDArray[Any]
    best_control: NDArray[Any]


class ClassFit(NamedTuple):
    """Maps of one layer for the images of one class.

    Attributes:
        maps: Maps fitted to images as they are stored.
        group_maps: By factor whose views form a group, maps fitted to images that are seen from
            every view of the group before the change.
        errors: Errors of the maps.
        group_errors: Errors of the maps of each group, mean over the views before the change.
    """

    maps: EquivarianceMaps
    group_maps: dict[str, EquivarianceMaps]
    errors: HeldOutErrors
    group_errors: dict[str, HeldOutErrors]


def fit_class(
    features: Tensor,
    label: int,
    folds: Folds,
    width: int,
    compositions: Mapping[str, ViewCompositions],
) -> ClassFit:
    """Fit the maps of one class.

    Maps of a group are fitted in the components of the first fit, which are those of the images
    from all views.

    Args:
        features: (n, V + 1, D) of the images as they are stored, and from V views.
        label: The class.
        folds: Held-out images and folds.
        width: d, number of components.
        compositions: Compositions of views by factor.
    """
    reduced = reduce_isometrically(features)
    classes = torch.full((len(reduced),), label, device=reduced.device)
    fit = fit_equivariance_maps(reduced[:, 0], reduced[:, 1:], classes, folds, width=width)
    coordinates = (reduced.double() - fit.mean[0]) @ fit.components[0].T
    held_out = coordinates[folds.held_out.to(coordinates.device)]
    group_maps, group_errors = {}, {}
    for factor, each in compositions.items():
        if each.table is not None:
            table = each.table.to(coordinates.device)
            from_all_views = coordinates[:, table].flatten(0, 1)  # a row per image and first view
            rows = torch.arange(len(coordinates), device=folds.order.device)
            group = fit_equivariance_maps(
                from_all_views[:, 0],
                from_all_views[:, 1:],
                classes.repeat_interleave(len(table)),
                folds.select(rows.repeat_interleave(len(table))),
                width=width,
            )
            own = (held_out - group.mean[0]) @ group.components[0].T
            group_maps[factor], group_errors[factor] = group, _held_out_errors(group, own[:, table])
    errors = _held_out_errors(fit, held_out[:, None])
    return ClassFit(fit, group_maps, errors, group_errors)


def _held_out_errors(fit: EquivarianceMaps, coordinates: Tensor) -> HeldOutErrors:
    """Return the errors of the maps of one class, mean over the views before the change.

    Args:
        fit: The maps.
        coordinates: (n, G, V + 1, d) in the components of the maps, of held-out images from G views
            before the change, and from these and V further ones after it.
    """
    x, gx = coordinates[..., 0, :], coordinates[..., 1:, :]
    residual, shuffled = (
        (gx - predict(maps[0], x.flatten(0, 1)).unflatten(0, x.shape[:2])).square().sum(dim=-1)
        for maps in (fit.maps, fit.shuffled_maps)
    )
    change = (gx - x[..., None, :]).square().sum(dim=-1)
    spread = (gx - gx.mean(dim=(0, 1))).square().sum(dim=-1)
    control = torch.where(fit.shuffled_residual[0] < fit.change[0], shuffled, change)
    is_mean_best = fit.spread[0] < torch.minimum(fit.shuffled_residual[0], fit.change[0])
    terms = (residual, change, control, spread, torch.where(is_mean_best, spread, control))
    return HeldOutErrors(*(each.mean(dim=1).float().cpu().numpy() for each in terms))


def reduce_isometrically(features: Tensor) -> Tensor:
    """Reduce the dimension of features (n, V, D) to at most the number of vectors, n V.

    All inner products of the vectors are preserved, and so is everything computed from them. The
    cost is linear in D.

    Returns:
        (n, V, min(D, n V)).
    """
    vectors = features.flatten(0, 1)
    if vectors.shape[1] <= len(vectors):
        return features
    return torch.linalg.qr(vectors.T, mode="r").R.T.unflatten(0, features.shape[:2])


def join_classes(fits: Sequence[EquivarianceMaps]) -> EquivarianceMaps:
    """Return the maps of single classes as one, without the components, which differ in size."""
    shortened = [
        fit._replace(mean=fit.mean[:, :0], components=fit.components[..., :0]) for fit in fits
    ]
    joined = {
        name: torch.cat(parts, dim=1 if name == "half_maps" else 0)
        for name, parts in zip(EquivarianceMaps._fields, zip(*shortened, strict=True), strict=True)
    }
    return EquivarianceMaps(**joined)
