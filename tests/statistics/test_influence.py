"""Influence of an image on a ratio, against the derivative by its weight."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.statistics.influence import explained_share_influence, influence_values
from capsbench.statistics.intervals import bootstrap_over_images
from capsbench.statistics.paired_difference import difference
from tests.statistics.coverage import cover_at, covers

SIZES = st.lists(st.floats(0.1, 10), min_size=3, max_size=20)


@settings(deadline=None)  # the first call imports much of torch
@given(SIZES, st.data())
def test_the_mean_is_the_value(first, data):
    rows = st.lists(st.floats(0.1, 10), min_size=len(first), max_size=len(first))
    a, b, c = (torch.tensor(each).double() for each in (first, data.draw(rows), data.draw(rows)))
    influence = influence_values([a, b, c], [0.5, -0.25, -0.25])
    expected = (a.mean() / (b.mean() * c.mean()).sqrt()).sqrt()
    torch.testing.assert_close(influence.mean(), expected)
    torch.testing.assert_close(explained_share_influence(a, b).mean(), 1 - a.sum() / b.sum())


def test_influence_is_the_derivative_by_an_images_weight():
    generator = torch.Generator().manual_seed(0)
    terms = torch.rand(3, 6, generator=generator, dtype=torch.float64) + 0.1
    powers = [0.5, -0.25, -0.25]
    weights = torch.full((6,), 1 / 6, dtype=torch.float64, requires_grad=True)
    means = terms @ weights / weights.sum()
    value = means[0] ** 0.5 * means[1] ** -0.25 * means[2] ** -0.25
    (slope,) = torch.autograd.grad(value, weights)
    torch.testing.assert_close(influence_values(terms.unbind(), powers), value.detach() + slope)


def shares(generator, seeds, images, *, seed_spread):
    """Return influence values of an explained share, by seed and image."""
    size = generator.lognormal(sigma=0.7, size=images)
    left = np.clip(0.6 + generator.normal(scale=seed_spread, size=(seeds, 1)), 0.05, None)
    residual = left * size * generator.gamma(3, 1 / 3, size=(seeds, images))
    whole = size * generator.gamma(3, 1 / 3, size=(seeds, images))
    pairs = zip(*(torch.from_numpy(each) for each in (residual, whole)), strict=True)
    return np.stack([explained_share_influence(*pair).numpy() for pair in pairs])


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.1), (5, 0.0)])
def test_intervals_of_differences_of_ratios_cover(seeds, spread):
    generator = np.random.default_rng(8)
    differences = [
        difference(*(shares(generator, seeds, 200, seed_spread=spread) for _ in range(2)))
        for _ in range(300)
    ]
    assert cover_at([covers(each, 0) for each in differences], slack=0.025)


def test_the_interval_of_a_ratio_over_images_covers():
    generator = np.random.default_rng(9)
    estimates = [
        bootstrap_over_images(shares(generator, 1, 200, seed_spread=0), resamples=499)
        for _ in range(300)
    ]
    # The truth is 1 minus the ratio of means, 0.6, not 1 minus the mean of ratios.
    assert cover_at([covers(each, 0.4) for each in estimates], slack=0.015)
