"""Which views of a grid are compositions of others of it."""

import pytest
import torch

from capsbench.measures._composed_views import composed_views
from capsbench.viewpoint.grid import GridView


def views(**factors):
    return [GridView(factor, value) for factor, values in factors.items() for value in values]


def test_a_table_shows_each_view_after_each_other():
    grid = views(shift_x=[1, 2], rotation=[-120, 120], scale=[2])
    found = composed_views(grid, "rotation")
    assert found.own.tolist() == [2, 3]
    # -120 after -120 is 120; the two others of the group are the identity and -120 after 120.
    assert found.table is not None
    assert found.table.tolist() == [[0, 3, 4], [3, 4, 0], [4, 0, 3]]
    assert found.triples.tolist() == [[0, 0, 1], [1, 1, 0]]


@pytest.mark.parametrize(
    ("factor", "values", "triples"),
    [
        ("rotation", [90, 180], [[0, 0, 1]]),
        ("shift_y", [-1, 1, 2], [[0, 2, 1], [1, 1, 2]]),
        ("scale", [0.5, 2, 4], [[0, 2, 1], [1, 1, 2]]),
        ("scale", [1.5, 2], []),
        ("brightness", [0.1, 0.2], []),
    ],
    ids=["rotation", "shift", "scale", "scale without pairs", "light"],
)
def test_views_that_are_no_whole_group(factor, values, triples):
    found = composed_views(views(**{factor: values}), factor)
    assert found.table is None
    assert found.triples.tolist() == triples


def test_a_slant_adds_up_in_its_tangent():
    once = 10.0
    twice = torch.rad2deg(torch.atan(2 * torch.tan(torch.deg2rad(torch.tensor(once).double()))))
    found = composed_views(views(shear=[once, twice.item(), 20.0]), "shear")
    assert found.triples.tolist() == [[0, 0, 1]]


def test_a_factor_of_which_only_the_identity_was_asked_for_has_no_compositions():
    found = composed_views(views(rotation=[90]), "shift_x")
    assert (len(found.own), len(found.triples), found.table) == (0, 0, None)
