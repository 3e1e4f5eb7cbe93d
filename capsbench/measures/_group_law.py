"""Group law: composition of fitted maps compared with composition of views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.measures._equivariance_maps import EquivarianceMaps


class GroupLaw(NamedTuple):
    """Difference of A_g A_h from A_gh; NaN (undefined) if A_gh f is 0 for all images.

    Attributes:
        error: (...,) E|(A_gh - A_g A_h) f|² / E|A_gh f|².
        noise: (...,) E|(A_gh - A'_gh) f|² / E|A_gh f|², both fitted to halves of the training
            images: the noise of fitting.
        distance: (...,) larger one of |A_g - I| and |A_h - I| (Frobenius, over sqrt(d), mean of the
            classes); near 0, A = I satisfies the law trivially.
    """

    error: Tensor
    noise: Tensor
    distance: Tensor


def group_law(
    A_g: Tensor, A_h: Tensor, A_gh: Tensor, covariance: Tensor, halves: tuple[Tensor, Tensor]
) -> GroupLaw:
    """Compare A_gh with A_g A_h; they are equal if the maps are a representation of the views.

    T in f(Tx) = T f(x) (article, eq. 3) has to be a representation; view gh is h followed by g. The
    expectation is over held-out images of all classes, of features f about their mean, for which
    the constants of the maps do not count.

    The noise compares maps fitted to n/2 images each, whose difference has the variance of four
    maps fitted to n; the error has that of about three. The error of a true representation is
    therefore about the noise or below. Two effects raise it above the noise. Noise in f(x), or a
    part of it outside of the components, makes every fitted map too small by the same factor, which
    counts once in A_gh and twice in A_g A_h. And if f(x) of upright images leaves out directions
    that f(T_h x) fills, A_g is the identity along them for lack of evidence; to exclude this
    effect, fit the maps to images that are seen from all views before the change.

    Args:
        A_g: (..., K, d, d) linear parts of the maps of K classes.
        A_h: The same.
        A_gh: The same.
        covariance: (K, d, d) E f fᵀ of held-out images; or its sum, so that classes count by their
            images.
        halves: A_gh fitted to each half of the training images.
    """
    first, second = halves
    size = _mean_square(A_gh, covariance)
    identity = torch.eye(A_g.shape[-1]).to(A_g)
    distances = [
        (A - identity).square().mean(dim=-1).sum(dim=-1).sqrt().mean(dim=-1) for A in (A_g, A_h)
    ]
    return GroupLaw(
        error=_mean_square(A_gh - A_g @ A_h, covariance) / size,
        noise=_mean_square(first - second, covariance) / size,
        distance=torch.maximum(*distances),
    )


def group_law_of_maps(fitted: EquivarianceMaps, triples: Tensor) -> GroupLaw:
    """Return the group law, tensors (T,), of maps from `fit_equivariance_maps`.

    Args:
        fitted: The maps of V views.
        triples: (T, 3) long, the numbers of the views g, h and gh, see `compositions`.
    """
    linear = fitted.maps[..., :-1].transpose(0, 1)
    g, h, gh = triples.unbind(dim=1)
    first, second = fitted.half_maps[..., :-1].transpose(1, 2)[:, gh]
    return group_law(linear[g], linear[h], linear[gh], fitted.covariance, (first, second))


def compositions(values: Sequence[float], period: float | None = None) -> Tensor:
    """Return the compositions g + h = gh among the views of one factor.

    Args:
        values: (V,) such as degrees, pixels, or the logarithm of scales.
        period: Value that equals the identity, such as 360 degrees.

    Returns:
        (T, 3) long, numbers of g, h and gh. Each pair is listed once; none of the three views is
        the identity.

    >>> compositions([-90, 0, 90, 180], period=360).tolist()
    [[0, 0, 3], [0, 3, 2], [2, 2, 3], [2, 3, 0]]
    """
    at = torch.tensor(values, dtype=torch.float64)
    sums = at[:, None, None] + at[None, :, None]
    nontrivial = ~equal_values(at, torch.zeros(()), period)
    triples = (
        equal_values(sums, at, period)
        & nontrivial[:, None, None]
        & nontrivial[:, None]
        & nontrivial
    ).nonzero()
    return triples[triples[:, 0] <= triples[:, 1]]  # views of one factor commute


def equal_values(a: Tensor, b: Tensor, period: float | None) -> Tensor:
    """Return which values of a factor are equal up to rounding and whole periods, as bool."""
    difference = a - b
    if period is not None:
        difference = difference - period * (difference / period).round()
    return difference.abs() < 1e-9


def _mean_square(maps: Tensor, covariance: Tensor) -> Tensor:
    """Return the sum of |A f|², (...,), for maps (..., K, d, d), over all classes."""
    return ((maps @ covariance) * maps).sum(dim=(-3, -2, -1))
