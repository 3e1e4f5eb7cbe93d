"""Group law: whether fitted maps compose as the views do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.measures._affine_fit import AffineFit


class GroupLaw(NamedTuple):
    """How far A_g A_h is from A_gh; NaN where A_gh f is 0 for all images ('undefined').

    Attributes:
        deviation: (...,) E|(A_gh - A_g A_h) f|² / E|A_gh f|².
        floor: (...,) the same of A_gh fitted to one half of the training images and to the other:
            what the noise of fitting amounts to.
        distance: (...,) the larger of |A_g - I| and |A_h - I| (Frobenius, over sqrt(d), mean of the
            classes): about 0 where A = I passes trivially.
    """

    deviation: Tensor
    floor: Tensor
    distance: Tensor


def group_law(
    A_g: Tensor, A_h: Tensor, A_gh: Tensor, covariance: Tensor, halves: tuple[Tensor, Tensor]
) -> GroupLaw:
    """Whether maps are a representation of the views: A_gh = A_g A_h.

    That is what T in f(Tx) = T f(x) (article, eq. 3) has to be, if the view that is seen after h
    and then g is gh. The expectation is over held-out images of all classes, of features f about
    their mean, for which the constants of the maps do not count.

    The floor compares maps fitted to n/2 images each, whose difference has the variance of four
    maps fitted to n; the deviation has that of about three. A representation that is true passes
    where its deviation is about the floor or below. Noise in f(x) itself, or what of it lies
    outside of the components, makes every fitted map too small by the same factor, which counts
    once in A_gh and twice in A_g A_h: such a deviation is above the floor. So is that of an A_g
    that has to be applied to what it was not fitted to: where f(x) of upright images leaves out
    directions that f(T_h x) fills, A_g changes nothing along them, for lack of evidence. Fit the
    maps to images that are seen from all views before they are moved, to tell that from a false
    law.

    Args:
        A_g: (..., K, d, d) linear parts of the maps of K classes.
        A_h: The same.
        A_gh: The same.
        covariance: (K, d, d) E f fᵀ of held-out images, or its sum: the classes then count by
            their images.
        halves: A_gh fitted to one half of the training images, and to the other.
    """
    first, second = halves
    size = _mean_square(A_gh, covariance)
    unit = torch.eye(A_g.shape[-1]).to(A_g)
    off = [(A - unit).square().mean(dim=-1).sum(dim=-1).sqrt().mean(dim=-1) for A in (A_g, A_h)]
    return GroupLaw(
        deviation=_mean_square(A_gh - A_g @ A_h, covariance) / size,
        floor=_mean_square(first - second, covariance) / size,
        distance=torch.maximum(*off),
    )


def group_law_of(fitted: AffineFit, triples: Tensor) -> GroupLaw:
    """The group law of maps fitted by `capsbench.measures._affine_equivariance`.

    Args:
        fitted: The maps of V views.
        triples: (T, 3) long, the numbers of the views g, h and gh, as `compositions` lists them.

    Returns:
        Tensors (T,).
    """
    linear = fitted.maps[..., :-1].transpose(0, 1)
    g, h, gh = triples.unbind(dim=1)
    one, other = fitted.halves[..., :-1].transpose(1, 2)[:, gh]
    return group_law(linear[g], linear[h], linear[gh], fitted.covariance, (one, other))


def compositions(values: Sequence[float], period: float | None = None) -> Tensor:
    """Which views of one factor composed are another: g + h = gh.

    Args:
        values: (V,) such as degrees, pixels, or the logarithm of scales.
        period: The value that is the identity again, such as 360 degrees.

    Returns:
        (T, 3) long, numbers of g, h and gh, each pair once; none of the three is the identity.

    >>> compositions([-90, 0, 90, 180], period=360).tolist()
    [[0, 0, 3], [0, 3, 2], [2, 2, 3], [2, 3, 0]]
    """
    at = torch.tensor(values, dtype=torch.float64)

    def same(a: Tensor, b: Tensor | float) -> Tensor:
        off = a - b
        if period is not None:
            off = off - period * (off / period).round()
        return off.abs() < 1e-9

    found = same(at[:, None, None] + at[None, :, None], at)
    moves = ~same(at, 0.0)
    found &= moves[:, None, None] & moves[:, None] & moves
    triples = found.nonzero()
    return triples[triples[:, 0] <= triples[:, 1]]  # views of one factor commute


def _mean_square(maps: Tensor, covariance: Tensor) -> Tensor:
    """(...,) of |A f|² for maps (..., K, d, d), over all classes."""
    return ((maps @ covariance) * maps).sum(dim=(-3, -2, -1))
