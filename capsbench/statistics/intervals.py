"""How sure a number is: intervals over seeds and over images, and many p-values at once.

Accuracy varies for two reasons, which are named apart: another seed trains another network, and
another test set holds other images. No number leaves this module without both counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap
from scipy.stats import t as student_t

from capsbench.errors import UserError

SEEDS_FOR_INTERVAL = 3
RESAMPLES = 4999  # the smallest p-value is 1 / (RESAMPLES + 1)
CONFIDENCE = 0.95
CHUNK = 1 << 16  # numbers in one array of drawn images: it stays in the cache of a processor

Floats = NDArray[np.float64]
Interval = tuple[float, float]


class Estimate(NamedTuple):
    """A mean with its interval.

    Attributes:
        mean: Over seeds and images.
        interval: 95 % over images, low and high; None where it is undefined.
        n_seeds: Number of trained networks.
        n_images: Number of test images that each was shown.
    """

    mean: float
    interval: Interval | None
    n_seeds: int
    n_images: int


def t_interval(values: ArrayLike) -> Interval | None:
    """The 95 % t interval of a mean over seeds: mean ± t(0.975, S - 1) s / sqrt(S).

    Args:
        values: (S,), one of each seed.

    Returns:
        None (undefined) below three seeds: of two, it would be nine standard deviations wide either
        side.
    """
    found = np.asarray(values, dtype=float)
    if found.size < SEEDS_FOR_INTERVAL:
        return None
    error = found.std(ddof=1) / np.sqrt(found.size)
    return around(found.mean(), error * student_t.ppf((1 + CONFIDENCE) / 2, found.size - 1))


def bootstrap_over_images(
    outcomes: ArrayLike,
    *,
    objects: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Mean and bootstrap interval over images (bias-corrected and accelerated, Efron 1987).

    The seeds stay as they are: each drawn image brings its outcomes under all of them. Of the
    difference of two models' outcomes it speaks of these very networks.

    Args:
        outcomes: (S, N) or, of one seed, (N,): right or wrong, or any number, of each image.
        objects: (N,) which object each image shows: objects are drawn with all their images. If
            left out, each image counts for itself.
        resamples: How often N images are drawn.
        seed: Of the draws.

    Returns:
        The interval is undefined (None) where all images have the same outcome.
    """
    found = table(outcomes)
    images = (found if objects is None else by_object(found, objects)).mean(axis=0)
    interval = None
    if np.ptp(images) > 0:
        limits = bootstrap(
            (images,),
            np.mean,
            n_resamples=resamples,
            batch=max(1, CHUNK // images.size),
            vectorized=True,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=random_numbers("images", seed),
        ).confidence_interval
        interval = float(limits.low), float(limits.high)
    return Estimate(float(images.mean()), interval, *found.shape)


def holm(p_values: ArrayLike) -> Floats:
    """P-values corrected for their number (Holm 1979).

    The i-th smallest of m becomes max_{j <= i} min(1, (m - j + 1) p_j): with all of them tested at
    5 %, the chance of any false discovery stays below 5 %, however they depend on one another.

    Args:
        p_values: (M,). Those that are undefined (NaN) stay so, and do not count.
    """
    given = np.asarray(p_values, dtype=float)
    order = np.argsort(given)  # NaN last
    defined = order[: np.isfinite(given).sum()]
    factors = np.arange(len(defined), 0, -1)
    result = np.full_like(given, np.nan)
    result[defined] = np.minimum(1, np.maximum.accumulate(factors * given[defined]))
    return result


def table(outcomes: ArrayLike) -> Floats:
    """(S, N) outcomes by seed and image, from those or from (N,) of one seed.

    Raises:
        UserError: They are something else, or not all are finite.
    """
    found: Floats = np.atleast_2d(np.asarray(outcomes, dtype=float))
    if found.ndim != 2 or not found.size or not np.isfinite(found).all():
        raise UserError(
            "outcomes must be finite numbers by seed and image, at least one of each; "
            f"got an array of shape {found.shape}"
        )
    return found


def by_object(outcomes: Floats, objects: ArrayLike) -> Floats:
    """Outcomes of objects, from those of their images.

    What images of one object have in common is no evidence twice. An object counts by its number of
    images: of the ratio of both sums this is the linear part, see `capsbench.statistics.influence`.

    Args:
        outcomes: (S, N) by seed and image.
        objects: (N,) the number of the object that each image shows.

    Returns:
        (S, T) by seed and object, with the same means over the columns.
    """
    _, member, counts = np.unique(np.asarray(objects), return_inverse=True, return_counts=True)
    whole = outcomes.mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(member, row, len(counts)) for row in outcomes])
    found: Floats = whole + (sums - counts * whole) / counts.mean()
    return found


def around(middle: float, half: float) -> Interval:
    """The interval of a middle and half a width."""
    return float(middle - half), float(middle + half)


def random_numbers(name: str, seed: int) -> Generator:
    """The generator of a bootstrap's draws."""
    return np.random.default_rng([seed, *f"bootstrap over {name}".encode()])
