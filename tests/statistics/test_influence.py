"""What an image adds to a ratio is what drawing it more often gives."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from capsbench.statistics.influence import linearised, share_explained
from capsbench.statistics.intervals import bootstrap_over_images
from capsbench.statistics.paired_difference import difference
from tests.measures.coverage import cover_at, covers

SIZES = st.lists(st.floats(0.1, 10), min_size=3, max_size=20)


@given(SIZES, st.data())
def test_the_mean_is_the_value(first, data):
    rows = st.lists(st.floats(0.1, 10), min_size=len(first), max_size=len(first))
    a, b, c = (torch.tensor(each).double() for each in (first, data.draw(rows), data.draw(rows)))
    found = linearised([a, b, c], [0.5, -0.25, -0.25])
    expected = (a.mean() / (b.mean() * c.mean()).sqrt()).sqrt()
    torch.testing.assert_close(found.mean(), expected)
    torch.testing.assert_close(share_explained(a, b).mean(), 1 - a.sum() / b.sum())


def test_it_is_the_derivative_by_an_images_weight():
    generator = torch.Generator().manual_seed(0)
    terms = torch.rand(3, 6, generator=generator, dtype=torch.float64) + 0.1
    powers = [0.5, -0.25, -0.25]
    weights = torch.full((6,), 1 / 6, dtype=torch.float64, requires_grad=True)
    means = terms @ weights / weights.sum()
    value = means[0] ** 0.5 * means[1] ** -0.25 * means[2] ** -0.25
    (slope,) = torch.autograd.grad(value, weights)
    torch.testing.assert_close(linearised(terms.unbind(), powers), value.detach() + slope)


def shares(generator, seeds, images, *, seed_spread):
    """Parts of a share explained, under seeds that differ, of images that differ in size."""
    size = generator.lognormal(sigma=0.7, size=images)
    left = np.clip(0.6 + generator.normal(scale=seed_spread, size=(seeds, 1)), 0.05, None)
    residual = left * size * generator.gamma(3, 1 / 3, size=(seeds, images))
    whole = size * generator.gamma(3, 1 / 3, size=(seeds, images))
    pairs = zip(*(torch.from_numpy(each) for each in (residual, whole)), strict=True)
    return np.stack([share_explained(*pair).numpy() for pair in pairs])


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.1), (5, 0.0)])
def test_intervals_of_differences_of_ratios_cover(seeds, spread):
    generator = np.random.default_rng(8)
    found = [
        difference(
            *(shares(generator, seeds, 200, seed_spread=spread) for _ in range(2)), resamples=299
        )
        for _ in range(300)
    ]
    assert cover_at([covers(one, 0) for one in found], slack=0.015)


def test_the_interval_of_a_ratio_over_images_covers():
    generator = np.random.default_rng(9)
    found = [
        bootstrap_over_images(shares(generator, 1, 200, seed_spread=0), resamples=499)
        for _ in range(300)
    ]
    # Of the mean ratio, 0.6, not of the mean of ratios.
    assert cover_at([covers(one, 0.4) for one in found], slack=0.015)
