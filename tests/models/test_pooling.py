import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from capsbench.models._geometry import Window, places
from capsbench.models._pooling import MaxPooling, halving

PARTIAL = Window(2, stride=2, partial=True)
WINDOWS = [Window(2, stride=2), Window(3, stride=2), Window(3, padding=1), PARTIAL]
every_window = pytest.mark.parametrize("window", WINDOWS)


class AveragePooling(MaxPooling):
    def forward(self, features):
        return F.avg_pool2d(features, self.kernel, self.stride, self.padding, self.partial)


def draw(count=2, channels=3, height=9, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, height, width, generator=generator)


def groups_of(features, window):
    """Each group of one map as (row, column, places in the map, values)."""
    kernel, stride, padding, _ = window
    height, width = features.shape
    for row in range(places(height, [window])):
        for column in range(places(width, [window])):
            group = [
                (y, x)
                for y in range(row * stride - padding, row * stride - padding + kernel)
                for x in range(column * stride - padding, column * stride - padding + kernel)
                if 0 <= y < height and 0 <= x < width
            ]
            yield row, column, group, [features[place].item() for place in group]


@every_window
def test_takes_the_largest_value_of_each_group(window):
    features = draw()
    pooled = MaxPooling(window)(features)
    for row, column, _, values in groups_of(features[1, 2], window):
        assert pooled[1, 2, row, column] == max(values)


@every_window
@settings(max_examples=25, deadline=None)
@given(shift=st.tuples(st.integers(-2, 2), st.integers(-2, 2)))
def test_keeps_groups_whose_largest_value_stays_the_largest(window, shift):
    features = draw()
    right, down = shift
    kept = MaxPooling(window).kept(features, shift)
    moved = features.roll((down, right), dims=(2, 3))
    for row, column, group, values in groups_of(features[0, 1], window):
        y, x = group[values.index(max(values))]
        stays = (y + down, x + right) in group
        newcomer = max(moved[0, 1][place].item() for place in group) > max(values)
        assert kept[0, 1, row, column] == (stays and not newcomer)


@every_window
@settings(max_examples=25, deadline=None)
@given(shift=st.tuples(st.integers(-1, 1), st.integers(-1, 1)), seed=st.integers(0, 99))
def test_local_shifts_change_nothing(window, shift, seed):
    pool, features = MaxPooling(window), draw(seed=seed)
    assert pool.kept(features, shift).any()
    assert pool.check_local_shift(features, shift) == 0


def test_shifts_out_of_every_group_leave_nothing_to_say():
    pool, features = MaxPooling(Window(2, stride=2)), draw()
    assert not pool.kept(features, (2, 0)).any()
    assert math.isnan(pool.check_local_shift(features, (2, 0)))
    assert math.isnan(pool.check_local_shift(torch.full_like(features, math.nan), (0, 0)))


@every_window
def test_average_pooling_does_not_have_the_property(window):
    features = draw()
    assert MaxPooling(window).kept(features, (1, 0)).any()
    assert AveragePooling(window).check_local_shift(features, (1, 0)) > 0.1


def test_where_inside_of_its_group_a_value_was_is_discarded():
    image = torch.zeros(4, 1, 6, 6)
    for number, (y, x) in enumerate([(2, 2), (2, 3), (3, 3), (3, 4)]):
        image[number, 0, y, x] = 1
    pooled = MaxPooling(Window(2, stride=2))(image)
    assert torch.equal(pooled[0], pooled[1]) and torch.equal(pooled[0], pooled[2])
    assert not torch.equal(pooled[0], pooled[3])


@pytest.mark.parametrize("size", range(2, 13))
def test_halving_commutes_with_turns_and_reflections_at_any_size(size):
    pool, features = MaxPooling(halving(size)), draw(height=size, width=size)
    pooled = pool(features)
    assert pooled.shape[-2:] == (size // 2, size // 2)
    assert torch.equal(pool(features.rot90(1, (2, 3))), pooled.rot90(1, (2, 3)))
    assert torch.equal(pool(features.flip(3)), pooled.flip(3))
    assert torch.equal(pooled.amax(dim=(2, 3)), features.amax(dim=(2, 3)))  # no pixel is left out
