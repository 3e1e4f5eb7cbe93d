"""Differences between models, against loops over the mean squares and the t tests of scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student_t
from scipy.stats import ttest_ind, ttest_rel

from capsbench.errors import UserError
from capsbench.statistics.paired_difference import (
    crossed_error,
    difference,
    difference_over_images,
    difference_over_seeds,
    interval_at,
)
from tests.statistics.crossed_bootstrap import bootstrap_p
from tests.statistics.outcomes import draw_outcomes


def tables(seed, *, seeds=(3, 4), images=7, spread=1.0):
    generator = np.random.default_rng(seed)
    shared = generator.normal(size=images)
    return [
        shared + spread * generator.normal(size=(count, 1)) + generator.normal(size=(count, images))
        for count in seeds
    ]


def mean_squares(table):
    """Return MS_seeds and MS_rest by loops."""
    count, images = len(table), len(table[0])
    mean = sum(map(sum, table)) / count / images
    rows = [sum(row) / images for row in table]
    columns = [sum(row[n] for row in table) / count for n in range(images)]
    of_seeds = sum(images * (row - mean) ** 2 for row in rows) / (count - 1)
    rest = sum(
        (table[s][n] - rows[s] - columns[n] + mean) ** 2
        for s in range(count)
        for n in range(images)
    )
    return of_seeds, rest / (count - 1) / (images - 1)


@pytest.mark.parametrize("spread", [2.0, 0.0])
def test_the_standard_error_is_that_of_a_crossed_table(spread):
    for case in range(20):
        one, other = tables(case, spread=spread)
        images = one.shape[1]
        gaps = [np.mean(one[:, n]) - np.mean(other[:, n]) for n in range(images)]
        shared = np.var(gaps, ddof=1) / images
        components = [(shared, images - 1)]
        excess = 0.0
        for table in (one, other):
            count = len(table)
            of_seeds, rest = (each / count / images for each in mean_squares(table.tolist()))
            components += [(of_seeds, count - 1), (rest, (count - 1) * (images - 1))]
            excess += of_seeds - rest
        expected = shared + max(excess, 0.0)
        error, degrees = crossed_error(one, other)
        assert error**2 == pytest.approx(expected)
        satterthwaite = expected**2 / sum(term**2 / count for term, count in components)
        assert degrees == pytest.approx(max(satterthwaite, 2))


def test_without_differences_of_images_it_is_welchs_test_over_seeds():
    generator = np.random.default_rng(1)
    one, other = generator.normal(size=5), 3 * generator.normal(size=4) + 1
    expected = ttest_ind(one, other, equal_var=False)
    result = difference(*(np.repeat(each[:, None], 9, axis=1) for each in (one, other)))
    assert (result.p, result.degrees) == pytest.approx((expected.pvalue, expected.df))
    assert result.interval == pytest.approx(tuple(expected.confidence_interval()))


def test_without_differences_of_seeds_it_is_the_paired_test_over_images():
    one, other = np.random.default_rng(2).normal(size=(2, 30))
    expected = ttest_rel(one, other)
    result = difference(*(np.tile(each, (3, 1)) for each in (one, other)))
    assert (result.p, result.degrees) == pytest.approx((expected.pvalue, 29))
    assert result.interval == pytest.approx(tuple(expected.confidence_interval()))


def test_over_seeds_it_is_the_paired_test():
    one, other = np.random.default_rng(3).normal(size=(2, 6))
    expected = ttest_rel(one, other)
    result = difference_over_seeds(one, other)
    assert (result.p, result.degrees) == pytest.approx((expected.pvalue, 5))
    assert result.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert (result.n_seeds, result.n_images) == ((6, 6), 0)


def test_over_images_it_is_the_paired_test_of_two_networks():
    one, other = (np.random.default_rng(seed).random(40) < 0.7 for seed in (1, 2))
    each = difference_over_images(one, other, bounds=(-1, 1))
    expected = ttest_rel(one.astype(float), other.astype(float))
    assert each.p == pytest.approx(expected.pvalue)
    assert each.mean == pytest.approx(one.mean() - other.mean())
    assert (each.degrees, each.n_seeds, each.n_images) == (39, (1, 1), 40)
    assert each.interval is not None and -1 < each.interval[0] < each.mean < each.interval[1] < 1
    same = difference_over_images(one, one)
    assert (same.mean, same.interval) == (0, None) and np.isnan(same.p)
    assert difference_over_images([1.0], [0.0]).interval is None


def test_over_images_of_one_object_the_object_counts():
    one, other = np.random.default_rng(3).random((2, 12))
    objects = np.repeat(np.arange(4), 3)
    each = difference_over_images(one, other, objects=objects)
    by_object = (one - other).reshape(4, 3).mean(axis=1)
    assert each.p == pytest.approx(ttest_rel(by_object, np.zeros(4)).pvalue)
    assert (each.degrees, each.n_objects, each.n_images) == (3, 4, 12)


def test_p_and_interval_are_those_of_students_t():
    result = difference(*tables(4))
    quotient = abs(result.mean) / result.standard_error
    assert (
        result.p == result.p_corrected == pytest.approx(2 * student_t.sf(quotient, result.degrees))
    )
    half = student_t.ppf(0.975, result.degrees) * result.standard_error
    assert result.interval == pytest.approx((result.mean - half, result.mean + half))
    assert interval_at(result, result.p) == pytest.approx(sorted((0, 2 * result.mean)), abs=1e-12)


def test_the_bootstrap_agrees():
    first, second = draw_outcomes(np.random.default_rng(5), (8, 10, 100), spread=0.2, shift=0.2)
    for one, other in zip(first, second, strict=True):
        p = difference(one, other).p
        assert bootstrap_p(one, other, resamples=499) == pytest.approx(p, abs=0.06)


@given(
    st.integers(0, 10**6),
    st.floats(0.01, 100),
    st.floats(-100, 100),
    st.sampled_from([(3, 3), (3, 5)]),
)
def test_a_difference_follows_the_outcomes(seed, factor, shift, seeds):
    one, other = tables(seed, seeds=seeds)
    result = difference(one, other)
    assert result.interval is not None
    low, high = result.interval
    swapped = difference(other, one)
    assert swapped.interval == pytest.approx((-high, -low))
    assert (swapped.mean, swapped.p) == pytest.approx((-result.mean, result.p))
    moved = difference(factor * one + shift, factor * other + shift)
    assert (moved.p, moved.degrees) == pytest.approx((result.p, result.degrees), rel=1e-6)
    assert moved.standard_error == pytest.approx(factor * result.standard_error)
    generator = np.random.default_rng(seed)
    columns = generator.permutation(one.shape[1])
    mixed = difference(
        generator.permutation(one)[:, columns], generator.permutation(other)[:, columns]
    )
    assert mixed.interval == pytest.approx(result.interval)


def test_images_are_paired():
    """Images that are hard for both models cancel; with shuffled images they do not."""
    generator = np.random.default_rng(6)
    shared = generator.normal(size=400)
    one, other = (shared + 0.1 * generator.normal(size=(4, 400)) for _ in range(2))
    apart = difference(one, generator.permuted(other, axis=1))
    assert difference(one, other).standard_error < 0.2 * apart.standard_error


def test_the_interval_of_accuracies_stays_inside_and_agrees_with_p():
    generator = np.random.default_rng(7)
    decided = 0
    for _ in range(300):
        rates = np.clip(generator.normal(0.9, generator.choice([0.02, 0.3]), size=(2, 3, 1)), 0, 1)
        one, other = generator.random((2, 3, 40)) < rates
        result = difference(one, other, bounds=(-1, 1))
        if result.interval is None:
            continue
        low, high = result.interval
        assert -1 <= low <= result.mean <= high <= 1
        assert (low <= 0 <= high) == (result.p >= 0.05)
        decided += result.p < 0.05
    assert 5 < decided < 200


def test_one_seed_at_chance_does_not_make_the_interval_useless():
    images = np.arange(1000) / 1000
    one = images < np.array([[0.99], [0.989], [0.99]])
    other = images < np.array([[0.988], [0.113], [0.987]])
    free = difference(one, other)
    bounded = difference(one, other, bounds=(-1, 1))
    assert free.interval is not None
    assert free.interval[1] > 1
    assert bounded.interval == pytest.approx((-0.67, 0.89), abs=0.02)
    assert bounded.p == free.p


def of_objects(generator, seeds, counts):
    """Two models that are equally good, each better at some objects than the other."""
    objects = np.repeat(np.arange(len(counts)), counts)
    return objects, [
        1.0
        + generator.normal(scale=0.1, size=(seeds, 1))
        + generator.normal(size=len(counts))[objects]
        + generator.normal(size=(seeds, len(objects)))
        > 0
        for _ in range(2)
    ]


@pytest.mark.parametrize("most", [40, 120])
def test_intervals_cover_differing_objects_if_objects_are_drawn(most):
    generator = np.random.default_rng(10)
    together, apart = [], []
    for _ in range(200):
        objects, outcomes = of_objects(generator, 3, generator.integers(40, most + 1, size=25))
        together.append(difference(*outcomes, objects=objects))
        apart.append(difference(*outcomes))
    assert 0.91 < np.mean([each.p >= 0.05 for each in together]) < 0.99
    assert np.mean([each.p >= 0.05 for each in apart]) < 0.8
    assert {each.n_objects for each in together} == {25}
    assert together[0].mean == apart[0].mean


def test_objects_of_one_image_each_are_images():
    one, other = tables(11)
    order = np.random.default_rng(11).permutation(7)
    by_object = difference(one[:, order], other[:, order], objects=np.argsort(order))
    assert by_object.interval == pytest.approx(difference(one, other).interval)
    assert (by_object.n_objects, by_object.n_images) == (7, 7)


def test_a_difference_may_be_undefined():
    few = difference(np.eye(2), np.eye(2)[:, ::-1])
    assert (few.mean, few.interval, few.n_seeds) == (0, None, (2, 2))
    constant = difference(np.full((3, 40), 0.3), np.full((3, 40), 0.1))
    assert constant.mean == pytest.approx(0.2)
    assert constant.interval is None
    equal = difference_over_seeds([0.1, 0.2, 0.3], [0.0, 0.1, 0.2])
    undefined = [few.p, few.p_corrected, constant.p, constant.standard_error, equal.p]
    assert np.isnan(undefined).all()
    assert difference_over_seeds([1.0], [0.5]).interval is None


def test_one_image_leaves_the_test_over_seeds():
    one, other = tables(12, images=1)
    expected = ttest_ind(one[:, 0], other[:, 0], equal_var=False)
    assert difference(one, other).p == pytest.approx(expected.pvalue)


def test_bad_outcomes_are_refused():
    with pytest.raises(UserError, match="got 4 and 5"):
        difference(np.ones((3, 4)), np.ones((3, 5)))
    with pytest.raises(UserError, match="finite numbers"):
        difference([[1, np.nan]], [[1, 1]])
    with pytest.raises(UserError, match="at least one seed"):
        difference_over_seeds([], [])
