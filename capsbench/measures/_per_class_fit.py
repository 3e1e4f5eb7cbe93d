"""Affine maps of the features of one class, of whatever size, and what they are on each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.measures._affine_equivariance import linear_equivariance
from capsbench.measures._affine_fit import AffineFit
from capsbench.measures._affine_maps import Division
from capsbench.measures._composed_views import Composed


class ClassMaps(NamedTuple):
    """The maps of one layer on the images of one class.

    Attributes:
        fit: Of maps fitted to images as they are stored.
        group_fits: By factor whose views are a whole group, of its maps fitted to images that are
            seen from each view of the group before they are moved.
        residual: (n, V) of held-out images, |f(T_g x) - A_g f(x)|² in the components.
        change: (n, V) of held-out images, |f(T_g x) - f(x)|² in the components.
        control: (n, V) of held-out images, the error of the control that errs less at the view: of
            the identity, which is ``change``, or of maps of shuffled pairs.
    """

    fit: AffineFit
    group_fits: dict[str, AffineFit]
    residual: NDArray[Any]
    change: NDArray[Any]
    control: NDArray[Any]


def maps_of_class(
    features: Tensor,
    label: int,
    division: Division,
    width: int,
    composed: Mapping[str, Composed],
) -> ClassMaps:
    """Fit the maps of one class.

    Maps of a group are fitted in the components that are found first, which are those of the images
    seen from all views.

    Args:
        features: (n, V + 1, D) of the images as they are stored, and from V views.
        label: The class.
        division: Which images serve for what.
        width: d, the components.
        composed: By factor, which of its views compose.
    """
    few = isometric(features)
    classes = torch.full((len(few),), label, device=few.device)
    fit = linear_equivariance(few[:, 0], few[:, 1:], classes, division, width=width)
    seen = (few.double() - fit.centre[0]) @ fit.components[0].T
    group_fits = {}
    for factor, each in composed.items():
        if each.table is not None:
            table = each.table.to(seen.device)
            moved = seen[:, table].flatten(0, 1)  # each base of each image is a row
            rows = torch.arange(len(seen), device=division.order.device)
            group_fits[factor] = linear_equivariance(
                moved[:, 0],
                moved[:, 1:],
                classes.repeat_interleave(len(table)),
                division.of(rows.repeat_interleave(len(table))),
                width=width,
            )
    held = seen[division.held_out.to(seen.device)]
    x, gx = held[:, 0], held[:, 1:]

    def errors(maps: Tensor) -> Tensor:
        predicted = torch.einsum("vij,nj->nvi", maps[..., :-1], x) + maps[..., -1]
        return (gx - predicted).square().sum(dim=-1)

    residual, shuffled = errors(fit.maps[0]), errors(fit.unrelated[0])
    change = (gx - x[:, None]).square().sum(dim=-1)
    control = torch.where(fit.shuffled[0] < fit.change[0], shuffled, change)
    return ClassMaps(
        fit, group_fits, *(each.float().cpu().numpy() for each in (residual, change, control))
    )


def isometric(features: Tensor) -> Tensor:
    """The same features (n, V, D) in no more numbers than there are vectors.

    All products between the vectors stay as they are, and so does all that is found from them, at
    a cost that is linear in D.

    Returns:
        (n, V, min(D, n V)).
    """
    vectors = features.flatten(0, 1)
    if vectors.shape[1] <= len(vectors):
        return features
    return torch.linalg.qr(vectors.T, mode="r").R.T.unflatten(0, features.shape[:2])


def of_all_classes(fits: Sequence[AffineFit]) -> AffineFit:
    """The maps of single classes as one; without their spaces, which may differ in size."""
    cut = [
        fit._replace(centre=fit.centre[:, :0], components=fit.components[..., :0]) for fit in fits
    ]
    joined = {
        name: torch.cat(parts, dim=1 if name == "halves" else 0)
        for name, parts in zip(AffineFit._fields, zip(*cut, strict=True), strict=True)
    }
    return AffineFit(**joined)
