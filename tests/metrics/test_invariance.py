"""Invariance error: against loops over pairs, and on networks of known invariance."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from capsbench.errors import UserError
from capsbench.metrics.invariance import FeatureInvariance, invariance_error, mean_over_views


def random(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def root_mean_square_distance(features, pairs):
    return np.sqrt(np.mean([np.sum((features[i] - features[j]) ** 2) for i, j in pairs]))


def pairs_of(classes, same_class):
    """Every image with each other one; each image that has partners counts the same."""
    n = len(classes)
    for i in range(n):
        partners = [j for j in range(n) if j != i and (classes[i] == classes[j] or not same_class)]
        yield i, partners


def naive_spread(features, classes, same_class):
    squares = [
        root_mean_square_distance(features, [(i, j) for j in partners]) ** 2
        for i, partners in pairs_of(classes, same_class)
        if partners
    ]
    return np.sqrt(np.mean(squares))


def test_against_loops_over_all_pairs():
    classes = torch.tensor([0, 2, 2, 0, 0, 5, 2])  # class 5 has one image, 1, 3 and 4 have none
    x, gx = random(7, 3, 2) + 4, random(7, 3, 2, seed=1) * 2
    distances = invariance_error(x, gx, classes)
    a, b, labels = x.flatten(1).numpy(), gx.flatten(1).numpy(), classes.tolist()
    change = np.sqrt(np.mean([np.sum((b[i] - a[i]) ** 2) for i in range(7)]))
    assert distances.change.item() == pytest.approx(change, rel=1e-12)
    terms = {
        (False, "x"): (distances.spread_x, a),
        (False, "gx"): (distances.spread_gx, b),
        (True, "x"): (distances.class_spread_x, a),
        (True, "gx"): (distances.class_spread_gx, b),
    }
    expected = {key: naive_spread(f, labels, key[0]) for key, (_, f) in terms.items()}
    for key, (spread, _) in terms.items():
        assert spread.item() == pytest.approx(expected[key], rel=1e-12)
    between = np.sqrt(expected[False, "x"] * expected[False, "gx"])
    within = np.sqrt(expected[True, "x"] * expected[True, "gx"])
    assert distances.error.item() == pytest.approx(change / between, rel=1e-12)
    assert distances.class_error.item() == pytest.approx(change / within, rel=1e-12)


def test_an_orbit_average_is_invariant_up_to_rounding():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    images = random(20, 1, 8, 8).float()

    def average(x):
        return torch.stack([body(x.rot90(k, (2, 3))) for k in range(4)]).mean(dim=0)

    with torch.no_grad():
        turned = images.rot90(1, (2, 3))
        assert invariance_error(average(images), average(turned)).error < 1e-6
        assert invariance_error(body(images), body(turned)).error > 0.5


def test_unrelated_features_have_an_error_of_one():
    distances = invariance_error(random(4000, 8), random(4000, 8, seed=1))
    assert distances.error.item() == pytest.approx(1, abs=0.02)
    assert torch.isnan(distances.class_error)


@pytest.mark.parametrize("value", [0.0, 1.7, 1e4])
def test_a_constant_network_is_undefined(value):
    f = torch.full((50, 6), value)
    one, other = f * (1 + 1e-7 * random(2, 50, 6)).float()  # equal up to rounding
    for distances in (invariance_error(f, f), invariance_error(one, other, torch.arange(50) % 2)):
        assert torch.isnan(distances.error)
    assert torch.isnan(distances.class_error)


def test_features_that_collapse_under_the_view_do_not_look_invariant():
    x = random(200, 8)
    shrunk = invariance_error(x, 0.01 * x)
    assert shrunk.error > 5
    assert torch.isinf(invariance_error(x, torch.zeros_like(x)).error)


def test_a_large_mean_does_not_hide_the_spread():
    x = random(300, 4).float() * 0.01
    near, far = invariance_error(x, x.roll(1, 0)), invariance_error(x + 512, x.roll(1, 0) + 512)
    assert far.spread_x.item() == pytest.approx(near.spread_x.item(), rel=1e-3)
    assert far.error.item() == pytest.approx(near.error.item(), rel=1e-3)


def test_half_precision_is_summed_in_double_precision():
    x = random(500, 64).half()
    distances, exact = invariance_error(x, -x), invariance_error(x.double(), -x.double())
    assert distances.error == exact.error


@given(st.lists(st.integers(0, 29), max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_batches_and_their_order_do_not_matter(cuts, shuffler):
    x, gx, classes = random(30, 5), random(30, 5, seed=1), torch.arange(30) % 4
    expected = invariance_error(x, gx, classes)
    order = list(range(30))
    shuffler.shuffle(order)
    metric = FeatureInvariance(5, 4)
    for rows in torch.tensor(order).tensor_split(sorted(cuts)):
        metric.update(x[rows], gx[rows], classes[rows])
    for one, other in zip(metric.compute(), expected, strict=True):
        assert one.item() == pytest.approx(other.item(), rel=1e-12)
    metric.reset()
    metric.update(x, gx, classes)
    assert metric.compute().error.item() == pytest.approx(expected.error.item(), rel=1e-12)


def test_means_over_views_are_of_squares():
    x = random(40, 3)
    views = [x + 3, x + 4, x * 2]
    distances = mean_over_views([invariance_error(x, view) for view in views])
    changes = [((view - x) ** 2).sum(1).mean().item() for view in views]
    assert distances.change.item() == pytest.approx(math.sqrt(sum(changes) / 3))
    spread = invariance_error(x, x).spread.item()
    assert distances.spread_gx.item() == pytest.approx(spread * math.sqrt((1 + 1 + 4) / 3))
    assert distances.error.item() == pytest.approx(
        math.sqrt(sum(changes) / 3 / math.sqrt(2)) / spread, rel=1e-9
    )


def test_multi_hot_classes_are_refused():
    x = random(6, 3)
    with pytest.raises(UserError, match=r"shape \(6, 2\)"):
        invariance_error(x, x, torch.ones(6, 2, dtype=torch.long))
    with pytest.raises(UserError, match="got none"):
        FeatureInvariance(3, 2).update(x, x)


def test_one_image_has_no_error():
    assert torch.isnan(invariance_error(random(1, 3), random(1, 3, seed=1)).error)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("classes", [True, False])
def test_no_distance_is_known_of_fewer_than_two_images(count, classes):
    features = torch.ones(count, 3)
    labels = torch.zeros(count, dtype=torch.long) if classes else None
    distances = invariance_error(features, features, labels)
    assert distances.spread.isnan() and distances.error.isnan()
    assert distances.change.isnan() == (count == 0)


def test_a_mean_over_no_views_is_refused():
    with pytest.raises(UserError, match="at least one view"):
        mean_over_views([])
