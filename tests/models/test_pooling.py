import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from capsbench.models._geometry import LayerWindow, output_size
from capsbench.models._pooling import MaxPooling, halving_window

PARTIAL = LayerWindow(2, stride=2, partial=True)
WINDOWS = [LayerWindow(2, stride=2), LayerWindow(3, stride=2), LayerWindow(3, padding=1), PARTIAL]
every_window = pytest.mark.parametrize("window", WINDOWS)


class AveragePooling(MaxPooling):
    def forward(self, features):
        return F.avg_pool2d(features, self.kernel, self.stride, self.padding, self.partial)


def draw(count=2, channels=3, height=9, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, height, width, generator=generator)


def groups_of(features, window):
    """Yield each group of one map as (row, column, pixels in the map, values)."""
    kernel, stride, padding, _ = window
    height, width = features.shape
    for row in range(output_size(height, [window])):
        for column in range(output_size(width, [window])):
            group = [
                (y, x)
                for y in range(row * stride - padding, row * stride - padding + kernel)
                for x in range(column * stride - padding, column * stride - padding + kernel)
                if 0 <= y < height and 0 <= x < width
            ]
            yield row, column, group, [features[pixel].item() for pixel in group]


@every_window
def test_pooling_returns_the_maximum_of_each_group(window):
    features = draw()
    pooled = MaxPooling(window)(features)
    for row, column, _, values in groups_of(features[1, 2], window):
        assert pooled[1, 2, row, column] == max(values)


@every_window
def test_values_and_gradients_of_pooling_are_those_of_torch(window):
    features = draw()
    ours, theirs = features.clone().requires_grad_(), features.clone().requires_grad_()
    kernel, stride, padding, partial = window
    expected = F.max_pool2d(theirs, kernel, stride, padding, ceil_mode=partial)
    weights = torch.rand(expected.shape)
    pooled = MaxPooling(window)(ours)
    (pooled * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.equal(pooled, expected)
    assert torch.equal(MaxPooling(window)(features), expected)
    torch.testing.assert_close(ours.grad, theirs.grad)  # the sum's order differs where groups meet


@every_window
@settings(max_examples=25, deadline=None)
@given(shift=st.tuples(st.integers(-2, 2), st.integers(-2, 2)))
def test_unaffected_groups_keep_their_maximum(window, shift):
    features = draw()
    right, down = shift
    unaffected = MaxPooling(window).unaffected_groups(features, shift)
    shifted = features.roll((down, right), dims=(2, 3))
    for row, column, group, values in groups_of(features[0, 1], window):
        y, x = group[values.index(max(values))]
        stays = (y + down, x + right) in group
        larger_enters = max(shifted[0, 1][pixel].item() for pixel in group) > max(values)
        assert unaffected[0, 1, row, column] == (stays and not larger_enters)


@every_window
@settings(max_examples=25, deadline=None)
@given(shift=st.tuples(st.integers(-1, 1), st.integers(-1, 1)), seed=st.integers(0, 99))
def test_local_shifts_change_nothing(window, shift, seed):
    pool, features = MaxPooling(window), draw(seed=seed)
    assert pool.unaffected_groups(features, shift).any()
    assert pool.check_local_shift(features, shift) == 0


def test_check_is_nan_if_every_maximum_leaves_its_group():
    pool, features = MaxPooling(LayerWindow(2, stride=2)), draw()
    assert not pool.unaffected_groups(features, (2, 0)).any()
    assert math.isnan(pool.check_local_shift(features, (2, 0)))
    assert math.isnan(pool.check_local_shift(torch.full_like(features, math.nan), (0, 0)))


@every_window
def test_average_pooling_is_not_invariant(window):
    features = draw()
    assert MaxPooling(window).unaffected_groups(features, (1, 0)).any()
    assert AveragePooling(window).check_local_shift(features, (1, 0)) > 0.1


def test_position_within_a_group_is_discarded():
    image = torch.zeros(4, 1, 6, 6)
    for number, (y, x) in enumerate([(2, 2), (2, 3), (3, 3), (3, 4)]):
        image[number, 0, y, x] = 1
    pooled = MaxPooling(LayerWindow(2, stride=2))(image)
    assert torch.equal(pooled[0], pooled[1]) and torch.equal(pooled[0], pooled[2])
    assert not torch.equal(pooled[0], pooled[3])


@pytest.mark.parametrize("size", range(2, 13))
def test_halving_commutes_with_turns_and_reflections_at_any_size(size):
    pool, features = MaxPooling(halving_window(size)), draw(height=size, width=size)
    pooled = pool(features)
    assert pooled.shape[-2:] == (size // 2, size // 2)
    assert torch.equal(pool(features.rot90(1, (2, 3))), pooled.rot90(1, (2, 3)))
    assert torch.equal(pool(features.flip(3)), pooled.flip(3))
    assert torch.equal(
        pooled.amax(dim=(2, 3)), features.amax(dim=(2, 3))
    )  # every pixel is included
