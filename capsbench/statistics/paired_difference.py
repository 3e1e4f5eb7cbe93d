"""The difference between two models, over other seeds and other images.

Another training and another test set would both give another difference: an interval that knows
only one of them is too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike
from scipy.stats import t as student_t

from capsbench.errors import UserError
from capsbench.statistics.intervals import (
    CHUNK,
    CONFIDENCE,
    RESAMPLES,
    SEEDS_FOR_INTERVAL,
    Floats,
    Interval,
    around,
    by_object,
    holm,
    random_numbers,
    t_interval,
    table,
)

ROUNDING = 1e-12  # of the largest outcome: differences and standard errors below it are none


class Difference(NamedTuple):
    """The difference of two models' means, over other seeds and other images.

    Attributes:
        mean: First model minus second.
        interval: 95 %, low and high, of this comparison alone; None where it is undefined.
        p: Two-sided, of no difference; NaN where it is undefined.
        p_corrected: The same for all ``comparisons`` together, by `holm`.
        n_seeds: Of the first and of the second model.
        n_images: Number of test images, the same for both.
        comparisons: How many differences were asked about.
        n_objects: Of how many objects, where these were drawn; None where images were.
    """

    mean: float
    interval: Interval | None
    p: float
    p_corrected: float
    n_seeds: tuple[int, int]
    n_images: int
    comparisons: int = 1
    n_objects: int | None = None


def difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    objects: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Difference of two models' means, by a bootstrap that draws seeds and images both.

    Each resample draws the seeds of each model and, the same for both models, the images. With d
    the difference and e its standard error, the distribution of t* = (d* - d) / e* over resamples
    gives the interval d ± q e, q the 95 % quantile of |t*|, and p, the share of |t*| that reach
    |d| / e. Quantiles of d* itself would not do: in simulation they cover the truth in 87 %
    instead of 95 % with three seeds that differ, and in more than 99 % where seeds hardly differ,
    because what is particular to one image under one seed counts three times (Owen 2007). The
    standard error counts it once, by the mean squares of a crossed two-way table:
    e² = Σ_models (MS_seeds - MS_rest) / (S N) + var_n(difference of image n) / N,
    no less than its last term.

    Args:
        first: (S, N), of the first model: right or wrong, or any number, of each image.
        second: (S', N), of the second; column by column the same images.
        objects: (N,) which object each image shows: objects are drawn with all their images, and
            the columns are theirs. If left out, each image counts for itself.
        resamples: How often to draw.
        seed: Of the draws.

    Returns:
        Interval and p are undefined (None, NaN) below three seeds of either model, and where the
        standard error is 0 because no outcome varies; the interval alone where so few outcomes
        differ that more than 5 % of the resamples hold none of them.

    Raises:
        UserError: The models were not shown the same number of images.
    """
    tables = table(first), table(second)
    counts, images = (len(tables[0]), len(tables[1])), tables[0].shape[1]
    if images != tables[1].shape[1]:
        raise UserError(
            "a difference needs the outcomes of the same images under both models; "
            f"got {images} and {tables[1].shape[1]}"
        )
    mean = float(tables[0].mean() - tables[1].mean())
    shown = None
    if objects is not None:
        tables = by_object(tables[0], objects), by_object(tables[1], objects)
        shown = tables[0].shape[1]
    undefined = Difference(mean, None, np.nan, np.nan, counts, images, n_objects=shown)
    if min(counts) < SEEDS_FOR_INTERVAL:
        return undefined
    # About their own means, and of size one: all that is left of equal outcomes is rounding.
    scale = max(abs(outcomes).max() for outcomes in tables) or 1.0
    one, other = ((outcomes - outcomes.mean()) / scale for outcomes in tables)
    drawn = (*counts, shown or images)
    ones = [np.full((1, count), 1 / count) for count in drawn]
    (error,) = _difference((one, other), ones[:2], ones[2])[1]
    if error == 0:
        return undefined
    deviations = _deviations((one, other), resamples, random_numbers("seeds and images", seed))
    p = float(1 + np.sum(deviations >= abs(mean) / (scale * error))) / (1 + resamples)
    half = scale * error * np.quantile(deviations, CONFIDENCE, method="higher")
    interval = around(mean, half) if np.isfinite(half) else None
    return undefined._replace(interval=interval, p=p, p_corrected=p)


def difference_over_seeds(first: ArrayLike, second: ArrayLike) -> Difference:
    """Difference of two models' values that are not means over images: other seeds alone.

    Args:
        first: (S,), a value of the first model under each seed.
        second: (S,), of the second under the same seeds.

    Returns:
        With the t interval and the two-sided p of the paired t test; undefined below three seeds,
        and where all differences are the same. ``n_images`` is 0.
    """
    gaps = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    mean, counts = float(gaps.mean()), (gaps.size, gaps.size)
    undefined = Difference(mean, None, np.nan, np.nan, counts, 0)
    if gaps.size < SEEDS_FOR_INTERVAL:
        return undefined
    error = float(gaps.std(ddof=1) / np.sqrt(gaps.size))
    if error <= ROUNDING * abs(gaps).max():
        return undefined
    p = float(2 * student_t.sf(abs(mean) / error, gaps.size - 1))
    return Difference(mean, t_interval(gaps), p, p, counts, 0)


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """The same differences, their p-values corrected for the number of comparisons.

    Args:
        differences: All that were asked about, not only those that look large.
    """
    adjusted = holm([found.p for found in differences])
    count = int(np.isfinite(adjusted).sum())
    return [
        found._replace(p_corrected=float(p), comparisons=count)
        for found, p in zip(differences, adjusted, strict=True)
    ]


def _deviations(tables: tuple[Floats, Floats], resamples: int, generator: Generator) -> Floats:
    """(resamples,) of |t*|; infinite where the outcomes drawn do not vary but differ from all.

    Args:
        tables: (S, N) and (S', N), both of mean zero.
        resamples: How many.
        generator: Of the draws.
    """
    images = tables[0].shape[1]
    found = []
    step = max(1, CHUNK // images)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        seeds = [_drawn(len(outcomes), rows, generator) for outcomes in tables]
        means, errors = _difference(tables, seeds, _drawn(images, rows, generator))
        gaps = abs(means)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(np.where(gaps > ROUNDING, gaps / errors, 0))
    return np.concatenate(found)


def _difference(
    tables: tuple[Floats, Floats], seeds: Sequence[Floats], images: Floats
) -> tuple[Floats, Floats]:
    """Difference of the means and its standard error, (R,) each, of R weighted samples.

    Args:
        tables: (S, N) and (S', N).
        seeds: (R, S) and (R, S'), the share of each seed in each sample.
        images: (R, N), the share of each image.
    """
    count = images.shape[1]
    excess = np.zeros(len(images))
    means, columns = [], []
    for outcomes, share in zip(tables, seeds, strict=True):
        by_seed = images @ outcomes.T  # (R, S)
        by_image = share @ outcomes  # (R, N)
        mean = np.sum(share * by_seed, axis=1)
        whole = np.sum(share * (images @ (outcomes**2).T), axis=1) - mean**2
        of_seeds = np.sum(share * (by_seed - mean[:, None]) ** 2, axis=1)
        of_images = np.sum(images * by_image**2, axis=1) - mean**2
        rest = (whole - of_seeds - of_images) / max(count - 1, 1)
        excess += (of_seeds - rest) / max(len(outcomes) - 1, 1)
        means.append(mean)
        columns.append(by_image)
    mean = means[0] - means[1]
    of_difference = np.sum(images * (columns[0] - columns[1] - mean[:, None]) ** 2, axis=1)
    variance = of_difference / max(count - 1, 1)
    error = np.sqrt(np.maximum(variance + excess, variance))
    return mean, np.where(error > ROUNDING, error, 0)


def _drawn(count: int, rows: int, generator: Generator) -> Floats:
    """(rows, count): the share of each of ``count`` things among as many draws with replacement."""
    drawn = generator.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count) / count
