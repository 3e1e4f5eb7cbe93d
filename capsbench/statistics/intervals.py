"""Intervals of a mean: over seeds, and over test images.

Accuracy varies for two reasons: another seed trains another network, and another test set holds
other images. Every estimate states the numbers of both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from capsbench.errors import UserError

SEEDS_FOR_INTERVAL = 3
RESAMPLES = 4999  # the smallest p-value is 1 / (RESAMPLES + 1)
CONFIDENCE = 0.95
ROUNDING = 1e-12  # of the largest number; smaller deviations count as 0
CHUNK = 1 << 16  # numbers in one array of drawn images: it stays in the cache of a processor

Floats = NDArray[np.float64]
Interval = tuple[float, float]


class MeanEstimate(NamedTuple):
    """A mean with its interval.

    Attributes:
        mean: Mean over seeds and images.
        interval: 95 % interval over images, low and high; None if undefined.
        n_seeds: Number of trained networks.
        n_images: Number of test images, the same for each network.
    """

    mean: float
    interval: Interval | None
    n_seeds: int
    n_images: int


def t_interval(values: ArrayLike) -> Interval | None:
    """Return the 95 % t interval of a mean over seeds: mean ± t(0.975, S - 1) s / sqrt(S).

    Args:
        values: (S,), one value per seed.

    Returns:
        None (undefined) below three seeds: with two, each half of the interval would be nine
        standard deviations wide. None as well if all values are equal, which does not show that
        those of other seeds are.
    """
    by_seed = np.asarray(values, dtype=float)
    if by_seed.size < SEEDS_FOR_INTERVAL or np.ptp(by_seed) <= ROUNDING * abs(by_seed).max():
        return None
    from scipy.stats import t as student_t  # takes longer to import than a page of two seeds

    error = by_seed.std(ddof=1) / np.sqrt(by_seed.size)
    return around(by_seed.mean(), error * student_t.ppf((1 + CONFIDENCE) / 2, by_seed.size - 1))


def bootstrap_over_images(
    outcomes: ArrayLike,
    *,
    objects: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MeanEstimate:
    """Compute the mean and its bootstrap interval over images (BCa, Efron 1987).

    BCa is the bias-corrected and accelerated bootstrap. The seeds are not resampled: each drawn
    image brings its outcomes under all of them, so that the interval holds for these networks only.

    Args:
        outcomes: (S, N), or (N,) of a single seed: a number for each image, such as right or wrong.
        objects: (N,) number of the object that each image shows: objects are drawn with all their
            images. By default images are drawn.
        resamples: Number of draws of N images.
        seed: Seed of the draws.

    Returns:
        The estimate; the interval is undefined (None) if all images have the same outcome.

    Raises:
        UserError: The outcomes are no finite numbers by seed and image.
    """
    table = outcome_table(outcomes)
    images = (table if objects is None else by_object(table, objects)).mean(axis=0)
    interval = None
    if np.ptp(images) > 0:
        from scipy.stats import bootstrap

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
    return MeanEstimate(float(images.mean()), interval, *table.shape)


def outcome_table(outcomes: ArrayLike) -> Floats:
    """Return outcomes by seed and image, (S, N), from (S, N) or from (N,) of a single seed.

    Raises:
        UserError: The array has another shape, is empty or not finite.
    """
    table: Floats = np.atleast_2d(np.asarray(outcomes, dtype=float))
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise UserError(
            "outcomes must be finite numbers by seed and image, at least one of each; "
            f"got an array of shape {table.shape}"
        )
    return table


def by_object(outcomes: Floats, objects: ArrayLike) -> Floats:
    """Return outcomes of objects from those of their images.

    Images of one object are not independent evidence. An object counts by its number of images; the
    result is the linear part of a ratio of sums, see `capsbench.statistics.influence`.

    Args:
        outcomes: (S, N) by seed and image.
        objects: (N,) number of the object that each image shows.

    Returns:
        (S, T) by seed and object, with the same means over the columns.
    """
    _, member, counts = np.unique(np.asarray(objects), return_inverse=True, return_counts=True)
    overall = outcomes.mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(member, row, len(counts)) for row in outcomes])
    result: Floats = overall + (sums - counts * overall) / counts.mean()
    return result


def around(middle: float, half: float) -> Interval:
    """Return the interval around a middle with half its width."""
    return float(middle - half), float(middle + half)


def random_numbers(name: str, seed: int) -> Generator:
    """Return the generator of the draws of a bootstrap."""
    return np.random.default_rng([seed, *f"bootstrap over {name}".encode()])
