"""Simulations of every procedure: p-values under no difference, coverage and power.

Models are equally good, or differ by a known amount; outcomes are right or wrong, with seeds and
images that differ, see `tests.statistics.outcomes`. `tests.statistics.size_and_power` prints the
tables.
"""

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student_t

from capsbench.statistics.bounded import DIFFERENCES_OF_SHARES, SHARES, bounded_t_interval
from capsbench.statistics.correction import corrected
from capsbench.statistics.equivalence import is_equivalent
from capsbench.statistics.intervals import bootstrap_over_images, t_interval
from capsbench.statistics.paired_difference import (
    LEVEL,
    Difference,
    crossed_error,
    difference_over_seeds,
    interval_at,
)
from capsbench.statistics.power import smallest_detectable
from tests.statistics.crossed_bootstrap import bootstrap_p
from tests.statistics.outcomes import draw_outcomes, shift_of

FAMILY = 30  # tests of the claims, when they were corrected together
CHUNK = 250  # repetitions in one array
IMAGES = 200


def required(interval):
    """Return an interval, which is defined."""
    assert interval is not None
    return interval


def simulated_tests(repetitions, seeds, *, spread, images=IMAGES, shift=0.0, seed=0):
    """Return difference, standard error, degrees of freedom and p, (R,) each, of two models."""
    generator = np.random.default_rng([seed, seeds, images, int(1000 * spread)])
    parts = []
    for start in range(0, repetitions, CHUNK):
        shape = (min(CHUNK, repetitions - start), seeds, images)
        one, other = draw_outcomes(generator, shape, spread=spread, shift=shift)
        error, degrees = crossed_error(one, other)
        parts.append((one.mean(axis=(1, 2)) - other.mean(axis=(1, 2)), error, degrees))
    means, errors, degrees = map(np.concatenate, zip(*parts, strict=True))
    return means, errors, degrees, 2 * student_t.sf(abs(means) / errors, degrees)


def as_differences(means, errors, degrees, *, seeds, images=IMAGES):
    """Return simulated tests of accuracies as differences."""
    return [
        Difference(
            mean=mean,
            standard_error=error,
            degrees=freedom,
            interval=None,
            p=float(2 * student_t.sf(abs(mean) / error, freedom)),
            p_corrected=np.nan,
            n_seeds=(seeds, seeds),
            n_images=images,
            bounds=DIFFERENCES_OF_SHARES,
        )
        for mean, error, freedom in zip(means, errors, degrees, strict=True)
    ]


def bootstrap_tests(repetitions, seeds, *, spread, images=IMAGES, resamples=1999):
    """Return the p-values (R,) of the bootstrap, the test until November 2026."""
    generator = np.random.default_rng([1, seeds, images, int(1000 * spread)])
    tables = draw_outcomes(generator, (repetitions, seeds, images), spread=spread)
    return np.array(
        [
            bootstrap_p(one, other, resamples=resamples, seed=number)
            for number, (one, other) in enumerate(zip(*tables, strict=True))
        ]
    )


def paired_tests(repetitions, seeds, *, skewed=False):
    """Return the p-values (R,) of the paired test over seeds."""
    generator = np.random.default_rng([2, seeds])
    draw = generator.exponential if skewed else generator.standard_normal
    gaps = draw(size=(repetitions, seeds)) - draw(size=(repetitions, seeds))
    quotient = gaps.mean(axis=1) / (gaps.std(axis=1, ddof=1) / np.sqrt(seeds))
    p = 2 * student_t.sf(abs(quotient), seeds - 1)
    example = difference_over_seeds(gaps[0], np.zeros(seeds))
    assert np.isclose(example.p, p[0])
    return p


def family_errors(repetitions, comparisons, seeds, *, spread, images=IMAGES):
    """Return the families (R,) with any false positive, of equally good models against one."""
    generator = np.random.default_rng([3, comparisons, seeds, int(1000 * spread)])
    errors = []
    for _ in range(0, repetitions, 50):
        shape = (50, seeds, images)
        first, *others = draw_outcomes(generator, shape, spread=spread, models=comparisons + 1)
        tests = []
        for other in others:
            error, degrees = crossed_error(other, first)
            gap = other.mean(axis=(1, 2)) - first.mean(axis=(1, 2))
            tests.append(zip(gap, error, degrees, strict=True))
        for family in zip(*tests, strict=True):
            adjusted = corrected(as_differences(*zip(*family, strict=True), seeds=seeds))
            errors.append(any(each.p_corrected < LEVEL for each in adjusted))
    return np.array(errors)


def interval_coverage(repetitions, seeds, *, spread, true):
    """Return the repetitions (R,) whose interval contains the true difference."""
    shift = shift_of(true, spread=spread)
    simulated = simulated_tests(repetitions, seeds, spread=spread, shift=shift)
    covered = []
    for each in as_differences(*simulated[:3], seeds=seeds):
        low, high = required(interval_at(each, LEVEL))
        assert -1 <= low <= high <= 1
        assert (low <= 0 <= high) == (each.p >= LEVEL)
        covered.append(low <= true <= high)
    return np.array(covered)


def mean_coverage(repetitions, seeds, *, ease, spread, images=500, failing=0.0):
    """Return the coverage of the bounded interval of a mean accuracy, and that of Student's t.

    Repetitions whose seeds are equally accurate have no interval, and are left out.
    """
    generator = np.random.default_rng([4, seeds, int(1000 * ease), int(1000 * failing)])

    def accuracies(size):
        learned = norm.cdf(ease + spread * generator.standard_normal(size))
        return np.where(generator.random(size) < failing, 0.1, learned)

    truth = accuracies(1_000_000).mean()
    measured = generator.binomial(images, accuracies((repetitions, seeds))) / images
    bounded, free = [], []
    for values in measured[np.ptp(measured, axis=1) > 0]:
        low, high = required(bounded_t_interval(values, SHARES))
        assert 0 <= low <= high <= 1
        bounded.append(low <= truth <= high)
        low, high = required(t_interval(values))
        free.append(low <= truth <= high)
    return np.array(bounded), np.array(free)


def power_at_detectable(repetitions, seeds, comparisons, *, image_share=0.0):
    """Return the smallest detectable difference in deviations of seeds, and its simulated power.

    Args:
        repetitions: Number of repetitions.
        seeds: Number of seeds of each model.
        comparisons: Number of comparisons that are corrected together.
        image_share: Variance of the difference that images add, in variances of one seed.
    """
    variance = 2 / seeds + image_share
    images = 100
    degrees = variance**2 / (2 / seeds**2 / (seeds - 1) + image_share**2 / (images - 1))
    exact = as_differences([0.0], [np.sqrt(variance)], [degrees], seeds=seeds)[0]
    true = smallest_detectable(exact._replace(comparisons=comparisons))
    generator = np.random.default_rng([5, seeds, comparisons])
    detected = []
    for _ in range(0, repetitions, CHUNK):
        one, other = (generator.standard_normal((CHUNK, seeds, 1)) for _ in range(2))
        by_image = np.sqrt(image_share * images) * generator.standard_normal((CHUNK, 1, images))
        one, other = one + by_image + true, np.broadcast_to(other, (CHUNK, seeds, images))
        error, freedom = crossed_error(one, other)
        quotient = (one.mean(axis=(1, 2)) - other.mean(axis=(1, 2))) / error
        detected.append(quotient > student_t.isf(LEVEL / comparisons / 2, freedom))
    return true, np.concatenate(detected)


def detection_rate(repetitions, seeds, *, true, spread, images=1000, families=(1, 6, FAMILY)):
    """Return the shares of repetitions that detect a difference, at each number of comparisons."""
    shift = shift_of(true, spread=spread)
    means, _, _, p = simulated_tests(
        repetitions, seeds, spread=spread, images=images, shift=shift, seed=7
    )
    return [np.mean((p < LEVEL / comparisons) & (means > 0)) for comparisons in families]


def equivalence_rate(repetitions, seeds, *, true, spread, bound=0.02, comparisons=1, images=3000):
    """Return the repetitions (R,) that call two models equivalent."""
    shift = shift_of(true, spread=spread)
    simulated = simulated_tests(repetitions, seeds, spread=spread, images=images, shift=shift)
    return np.array(
        [
            is_equivalent(each._replace(interval=interval_at(each, LEVEL / comparisons)), bound)
            for each in as_differences(*simulated[:3], seeds=seeds)
        ]
    )


def image_coverage(repetitions, *, images=300, ease=1.3, resamples=999):
    """Return the coverage of the bootstrap over images of one network."""
    generator = np.random.default_rng([6, images])
    truth = norm.cdf(ease)
    covered = []
    for outcomes in generator.random((repetitions, images)) < truth:
        low, high = required(bootstrap_over_images(outcomes, resamples=resamples).interval)
        covered.append(low <= truth <= high)
    return np.array(covered)
