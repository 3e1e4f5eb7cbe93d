"""Affine maps from features to those of the same images from other views, fitted by class.

Everything is computed from second moments of features with a 1 appended, stacked over classes and
views: fitting, choosing the penalty, and the errors on other images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

from capsbench.data.randomness import generator

FOLDS = 4  # an even number: half of them are half of the training images
HELD_OUT = 1 / 3  # of the images
PENALTIES = tuple(10.0**power for power in range(-8, 3))  # of the mean variance of the components
EXTRA, ROUNDS = 10, 6  # of the subspace iteration


class Division(NamedTuple):
    """Which images serve for what.

    Attributes:
        held_out: (N,) bool, not used for fitting.
        fold: (N,) in [0, FOLDS), the part of the training images for which the maps that choose the
            penalty are not fitted.
        order: (N,) in [0, 1), a random order.
    """

    held_out: Tensor
    fold: Tensor
    order: Tensor

    def to(self, device: torch.device) -> Division:
        """On another device."""
        return Division(*(part.to(device) for part in self))

    def of(self, rows: Tensor) -> Division:
        """Of some of the images."""
        return Division(*(part[rows] for part in self))


def divide(index: Tensor, seed: int) -> Division:
    """Divide images at random by their number: the same for all layers and models.

    Args:
        index: (N,) each image's number in its source.
        seed: Of the table that has a row for every number.
    """
    numbers = index.cpu()
    draws = generator("division of images", seed)
    table = torch.rand(int(numbers.max()) + 1, 3, generator=draws, dtype=torch.float64)
    use, fold, order = table[numbers].unbind(-1)
    parts = (use < HELD_OUT, (fold * FOLDS).long(), order)
    return Division(*(part.to(index.device) for part in parts))


def divide_objects(targets: Tensor, instances: Tensor, index: Tensor) -> Division:
    """Divide images at random by the object that they show: a third of each class's is held out.

    What holds for other images of a toy need not hold for another toy. A class of a single object
    has nothing to be held out. The folds of nested validation are of objects too, but where a class
    has too few of them left for both halves of the folds to have one: there they are of images.

    Args:
        targets: (N,) class indices.
        instances: (N,) number of the object within its class.
        index: (N,) each image's number in its source.
    """
    held_out = torch.zeros(len(targets), dtype=torch.bool)
    by_image = divide(index, 0)
    fold = by_image.fold.cpu().clone()
    for label in targets.unique().tolist():
        rows = targets == label
        known = instances[rows].unique()
        draws = generator("division of objects", label)
        order = known[torch.randperm(len(known), generator=draws)]
        first = max(round(HELD_OUT * len(order)), 1) if len(order) > 1 else 0
        held_out |= rows & torch.isin(instances, order[:first])
        left = order[first:]
        for number, one in enumerate(left if len(left) > FOLDS // 2 else ()):
            fold[rows & (instances == one)] = number % FOLDS
    return Division(held_out, fold, by_image.order)


class Space(NamedTuple):
    """A few directions about a centre, in which features are expressed.

    Attributes:
        centre: (D,) what is subtracted.
        components: (d, D) orthonormal.
        variance: 0-d, the share of the samples' variance that lies in the components.
    """

    centre: Tensor
    components: Tensor
    variance: Tensor

    def project(self, features: Tensor) -> Tensor:
        """Features (..., D) as (..., d) float64."""
        return (features.double() - self.centre) @ self.components.T


def principal_components(samples: Tensor, width: int) -> Space:
    """The directions in which samples vary most.

    Subspace iteration from a seeded start (Halko, Martinsson & Tropp 2011, algorithm 4.4), exact
    where ``width`` + 10 are all directions that there are; its cost is linear in samples and
    features.

    Args:
        samples: (n, D) float64.
        width: d, at most D.
    """
    centre = samples.mean(dim=0)
    centred = samples - centre
    size = (samples.shape[1], min(width + EXTRA, samples.shape[1]))
    start = torch.randn(size, generator=generator("principal components"), dtype=torch.float64)
    basis = torch.linalg.qr(start.to(samples.device)).Q
    for _ in range(ROUNDS):
        basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
    turned = centred @ basis
    along, turn = torch.linalg.eigh(turned.T @ turned)  # by increasing variance
    components = (basis @ turn.flip(-1)[:, :width]).T
    return Space(centre, components, along[-width:].sum() / centred.square().sum())


class Moments(NamedTuple):
    """Sums over images of products of features; x has a 1 appended.

    Attributes:
        source: (..., K, d + 1, d + 1), of x xᵀ.
        cross: (..., K, V, d, d + 1), of y xᵀ.
        square: (..., K, V), of |y|².
    """

    source: Tensor
    cross: Tensor
    square: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor, rows: Sequence[Tensor]) -> Self:
        """Moments over some of the images, for each class.

        Args:
            x: (N, d).
            y: (N, V, d).
            rows: For each of K classes (n,), which images.
        """
        one = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        chosen = [(one[row], y[row]) for row in rows]
        return cls(
            torch.stack([a.T @ a for a, _ in chosen]),
            torch.stack([torch.einsum("nvi,nj->vij", b, a) for a, b in chosen]),
            torch.stack([b.square().sum(dim=(0, 2)) for _, b in chosen]),
        )

    def plus(self, other: Moments, sign: int = 1) -> Moments:
        """Of the images of both; with ``sign`` -1, of all but the other's."""
        return Moments(*(a + sign * b for a, b in zip(self, other, strict=True)))

    def covariance(self) -> Tensor:
        """(..., K, d, d), the sum of x xᵀ about the mean of x in each class."""
        total, count = self.source[..., :-1, -1:], self.source[..., -1:, -1:]
        return self.source[..., :-1, :-1] - total @ total.mT / count

    def error(self, maps: Tensor) -> Tensor:
        """(..., K, V) sum of |y - A x|² for maps A (..., K, V, d, d + 1)."""
        predicted = maps @ self.source[..., None, :, :]
        return self.square + ((predicted - 2 * self.cross) * maps).sum(dim=(-2, -1))


def ridge(moments: Moments, penalty: Tensor | float) -> Tensor:
    """Fit affine maps by ridge regression of the change y - x, its constant not penalized.

    A penalty on A - I, and not on A: with nothing to go by the map changes nothing, in directions
    in which no feature varies either.

    Args:
        moments: Of the training images.
        penalty: λ, in units of the mean variance of x's components; a number, or (K, V).

    Returns:
        (..., K, V, d, d + 1) A, with the constant in the last column.
    """
    source = moments.source[..., None, :, :]
    scale = moments.covariance().diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    scale = scale.where(scale > 0, 1)[..., None]  # where nothing varies any penalty will do
    weight = torch.ones_like(source[..., 0])
    weight[..., -1] = 0
    added = torch.diag_embed(weight * (penalty * scale)[..., None])
    d = weight.shape[-1] - 1
    unit = torch.eye(d, d + 1).to(source)
    change = moments.cross - unit @ source
    return unit + torch.linalg.solve(source + added, change.mT).mT


def choose_penalty(folds: Sequence[Moments]) -> Tensor:
    """(K, V) the penalties whose maps err least on the folds that they were not fitted to."""
    whole = together(folds)
    rest = [whole.plus(fold, -1) for fold in folds]
    errors = [
        sum(fold.error(ridge(others, penalty)) for fold, others in zip(folds, rest, strict=True))
        for penalty in PENALTIES
    ]
    best = torch.stack([torch.as_tensor(each) for each in errors]).argmin(dim=0)
    return torch.tensor(PENALTIES, dtype=whole.square.dtype, device=best.device)[best]


def together(folds: Sequence[Moments]) -> Moments:
    """Moments over the images of all folds."""
    return Moments(*(torch.stack(parts).sum(dim=0) for parts in zip(*folds, strict=True)))
