"""Positions at which f(T x) and ρ(T) f(x) are compared."""

import pytest
import torch

from capsbench.contracts import LayerOfInterest
from capsbench.measures._layer_transforms import LayerTransforms
from capsbench.representations import SHIFTS, SpatialMap
from capsbench.viewpoint.grid import GridView

MIDDLE = torch.zeros(6, 6, dtype=torch.bool)
MIDDLE[1:5, 1:5] = True


def compared(representation, shift):
    """Return the positions (6, 6) of a map that are compared at a shift to the right."""
    layers = {"map": LayerOfInterest("map", "map")}
    transforms = LayerTransforms(
        layers, {"map": representation}, (6, 6), margin=0, interior={"map": MIDDLE}
    )
    view, ones = GridView("shift_x", shift), torch.ones(1, 1, 6, 6)
    pair = transforms.pair(view, "map", ones, ones)
    assert transforms.comparable(view, "map") == pair[1].any()
    assert transforms.fibres(view, "map", ones, ones)[0].shape[-1] == pair[1].sum()
    return pair[1][0, 0, 0].bool()


@pytest.mark.parametrize(("shift", "columns"), [(1, [2, 3, 4]), (-1, [1, 2, 3]), (4, []), (6, [])])
def test_exact_shifts_are_compared_where_the_interior_is_before_and_after(shift, columns):
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[1:5, columns] = True
    assert torch.equal(compared(SpatialMap(exact=SHIFTS), shift), expected)


@pytest.mark.parametrize(("shift", "columns"), [(1, [1, 2, 3, 4, 5]), (4, [4, 5]), (6, [])])
def test_claimed_shifts_are_compared_within_the_map(shift, columns):
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[:, columns] = True
    assert torch.equal(compared(SpatialMap(claimed=SHIFTS), shift), expected)
