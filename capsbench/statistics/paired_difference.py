"""Difference between two models that are tested on the same images.

Another training and another test set would both give another difference: an interval that allows
for only one of the two is too narrow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from capsbench.errors import UserError
from capsbench.statistics.bounded import score_interval
from capsbench.statistics.intervals import (
    ROUNDING,
    SEEDS_FOR_INTERVAL,
    Floats,
    Interval,
    around,
    by_object,
    outcome_table,
)

LEVEL = 0.05  # of all tests of a family together


class Difference(NamedTuple):
    """Difference of two models' means.

    Attributes:
        mean: First model minus second.
        standard_error: Standard error of the mean; NaN if undefined.
        degrees: Degrees of freedom of the standard error; NaN if undefined.
        interval: Interval at 95 % for all ``comparisons`` together, low and high; None if
            undefined. It contains zero if and only if ``p_corrected`` is 0.05 or more.
        p: Two-sided p-value of no difference, of this comparison alone; NaN if undefined.
        p_corrected: The p-value corrected for all ``comparisons``.
        n_seeds: Numbers of seeds of the first and of the second model.
        n_images: Number of test images, the same for both.
        n_objects: Number of objects if these were drawn; None if images were drawn.
        comparisons: Number of comparisons that were made, see
            `capsbench.statistics.correction.corrected`.
        bounds: Lowest and highest possible difference, which the interval does not leave; None if
            there are none.
    """

    mean: float
    standard_error: float
    degrees: float
    interval: Interval | None
    p: float
    p_corrected: float
    n_seeds: tuple[int, int]
    n_images: int
    n_objects: int | None = None
    comparisons: int = 1
    bounds: Interval | None = None


def difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    objects: ArrayLike | None = None,
    bounds: Interval | None = None,
) -> Difference:
    """Compute the difference of two models' means with Student's t over seeds and images.

    See `crossed_error` for its standard error and its degrees of freedom.

    Args:
        first: (S, N) of the first model: a number for each image, such as right or wrong.
        second: (S', N) of the second model; column by column the same images.
        objects: (N,) number of the object that each image shows: another test set has other objects
            with all their images. By default it has other images.
        bounds: Lowest and highest possible difference, such as -1 and 1 of two accuracies.

    Returns:
        The difference. Interval and p are undefined (None, NaN) below three seeds of either model,
        and if the standard error is 0 because no outcome varies.

    Raises:
        UserError: The numbers of images differ, or outcomes are no finite numbers.
    """
    tables = outcome_table(first), outcome_table(second)
    counts, images = (len(tables[0]), len(tables[1])), tables[0].shape[1]
    if images != tables[1].shape[1]:
        raise UserError(
            "a difference needs the outcomes of the same images under both models; "
            f"got {images} and {tables[1].shape[1]}"
        )
    mean = float(tables[0].mean() - tables[1].mean())
    n_objects = None
    if objects is not None:
        tables = by_object(tables[0], objects), by_object(tables[1], objects)
        n_objects = tables[0].shape[1]
    undefined = Difference(
        mean, np.nan, np.nan, None, np.nan, np.nan, counts, images, n_objects, bounds=bounds
    )
    if min(counts) < SEEDS_FOR_INTERVAL:
        return undefined
    # Centred and scaled to size one, so that equal outcomes leave nothing but rounding.
    scale = max(abs(outcomes).max() for outcomes in tables) or 1.0
    one, other = ((outcomes - outcomes.mean()) / scale for outcomes in tables)
    error, degrees = crossed_error(one, other)
    if error <= ROUNDING:
        return undefined
    return with_t_test(
        undefined._replace(standard_error=float(scale * error), degrees=float(degrees))
    )


def difference_over_images(
    first: ArrayLike,
    second: ArrayLike,
    *,
    objects: ArrayLike | None = None,
    bounds: Interval | None = None,
) -> Difference:
    """Compute the difference of two networks with Student's paired t test over images alone.

    It says nothing about other seeds: the interval is that of these very networks on other images.

    Args:
        first: (N,) of the first network: a number for each image, such as right or wrong.
        second: (N,) of the second network, of the same images.
        objects: (N,) number of the object that each image shows, see `difference`.
        bounds: Lowest and highest possible difference.

    Returns:
        The difference. Interval and p are undefined (None, NaN) if it is the same for all images.

    Raises:
        UserError: The numbers of images differ, or outcomes are no finite numbers.
    """
    undefined = difference(first, second, objects=objects, bounds=bounds)
    tables = outcome_table(first), outcome_table(second)
    if objects is not None:
        tables = by_object(tables[0], objects), by_object(tables[1], objects)
    gaps = tables[0].mean(axis=0) - tables[1].mean(axis=0)
    error = gaps.std(ddof=1) / np.sqrt(gaps.size) if gaps.size > 1 else 0.0
    if error <= ROUNDING * (abs(gaps).max() or 1.0):
        return undefined
    return with_t_test(
        undefined._replace(standard_error=float(error), degrees=float(gaps.size - 1))
    )


def difference_over_seeds(
    first: ArrayLike, second: ArrayLike, *, bounds: Interval | None = None
) -> Difference:
    """Compute the difference of two models' values that are no means over images.

    Args:
        first: (S,) value of the first model under each seed.
        second: (S,) value of the second model under the same seeds.
        bounds: Lowest and highest possible difference.

    Returns:
        The difference, with the interval and p of the paired t test over seeds; undefined below
        three seeds, and if all differences are equal. ``n_images`` is 0.

    Raises:
        UserError: There is no seed.
    """
    gaps = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    if not gaps.size:
        raise UserError("a difference needs the values of at least one seed, got none")
    counts = (gaps.size, gaps.size)
    undefined = Difference(
        float(gaps.mean()), np.nan, np.nan, None, np.nan, np.nan, counts, 0, bounds=bounds
    )
    if gaps.size < SEEDS_FOR_INTERVAL:
        return undefined
    error = gaps.std(ddof=1) / np.sqrt(gaps.size)
    if error <= ROUNDING * abs(gaps).max():
        return undefined
    return with_t_test(
        undefined._replace(standard_error=float(error), degrees=float(gaps.size - 1))
    )


def with_t_test(each: Difference) -> Difference:
    """Return a difference with the p-value and the interval of its standard error, uncorrected."""
    from scipy.stats import t as student_t  # takes longer to import than a page of two seeds

    p = float(2 * student_t.sf(abs(each.mean) / each.standard_error, each.degrees))
    return each._replace(p=p, p_corrected=p, interval=interval_at(each, LEVEL), comparisons=1)


def interval_at(each: Difference, level: float) -> Interval | None:
    """Return the interval of a difference at confidence 1 - ``level``.

    It is the t interval without what no difference can be, see
    `capsbench.statistics.bounded.score_interval`, and it contains zero if and only if the t
    interval does: interval and p never disagree.

    Args:
        each: The difference.
        level: Probability that the interval misses the true difference.

    Returns:
        None (undefined) without a standard error.
    """
    if np.isnan(each.standard_error):
        return None
    from scipy.stats import t as student_t

    half = each.standard_error * student_t.isf(level / 2, each.degrees)
    low, high = around(each.mean, half)
    if each.bounds is None:
        return low, high
    inner_low, inner_high = score_interval((low, high), each.bounds)
    return max(low, min(inner_low, 0.0)), min(high, max(inner_high, 0.0))


def crossed_error(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Return the standard error of a difference of means, and its degrees of freedom.

    The outcomes of each model are a crossed two-way table of seeds and images, with the mean
    squares MS_seeds and MS_rest (Searle, Casella & McCulloch 1992, chapter 4). Seeds of the two
    models are independent, images are shared:
    ``e² = Σ_models (MS_seeds - MS_rest) / (S N) + var_n(difference of image n) / N``. The last term
    counts the rest as well, which is why it is subtracted. Below this term the sum is estimated too
    small by chance, so that it is the least. The degrees of freedom are those of Satterthwaite
    (1946), ``e⁴ / Σ_i (c_i MS_i)² / ν_i`` over the independent mean squares MS_i with coefficients
    c_i and degrees ν_i, and no less than those of the fewest seeds or images.

    Args:
        first: (..., S, N) of the first model.
        second: (..., S', N) of the second model.

    Returns:
        Standard error and degrees of freedom, (...) each.
    """
    images = first.shape[-1]
    of_images = max(images - 1, 1)
    columns = first.mean(axis=-2) - second.mean(axis=-2)
    shared = ((columns - columns.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    shared = shared / of_images / images
    excess, spread = np.zeros_like(shared), shared**2 / of_images
    for outcomes in (first, second):
        count = outcomes.shape[-2]
        of_seeds = max(count - 1, 1)
        centred = outcomes - outcomes.mean(axis=(-2, -1), keepdims=True)
        by_seed = centred.mean(axis=-1, keepdims=True)
        rest = centred - by_seed - centred.mean(axis=-2, keepdims=True)
        seeds_term = (by_seed**2).sum(axis=(-2, -1)) / of_seeds / count
        rest_term = (rest**2).sum(axis=(-2, -1)) / (of_seeds * of_images) / (count * images)
        excess = excess + seeds_term - rest_term
        spread = spread + (seeds_term**2 + rest_term**2 / of_images) / of_seeds
    variance = shared + np.maximum(excess, 0)
    fewest = min(first.shape[-2], second.shape[-2], images) - 1
    with np.errstate(invalid="ignore"):  # 0 / 0 if nothing varies
        degrees = np.maximum(variance**2 / spread, fewest)
    return np.sqrt(variance), degrees
