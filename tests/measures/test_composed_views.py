"""Compositions among the views of a grid."""

import pytest
import torch

from capsbench.measures._composed_views import composed_views
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views


def views(**factors):
    return [GridView(factor, value) for factor, values in factors.items() for value in values]


def test_the_table_holds_the_view_of_each_pair():
    grid = views(shift_x=[1, 2], rotation=[-120, 120], scale=[2])
    compositions = composed_views(grid, "rotation")
    assert compositions.view_indices.tolist() == [2, 3]
    # -120 after -120 is 120, and -120 after 120 is the identity.
    assert compositions.table is not None
    assert compositions.table.tolist() == [[0, 3, 4], [3, 4, 0], [4, 0, 3]]
    assert compositions.triples.tolist() == [[0, 0, 1], [1, 1, 0]]


@pytest.mark.parametrize(
    ("factor", "values", "triples"),
    [
        ("rotation", [90, 180], [[0, 0, 1]]),
        ("shift_y", [-1, 1, 2], [[0, 2, 1], [1, 1, 2]]),
        ("scale", [0.5, 2, 4], [[0, 2, 1], [1, 1, 2]]),
        ("scale", [1.5, 2], []),
        ("brightness", [0.1, 0.2], []),
        ("tilt_x", [15, 30], []),
    ],
    ids=["rotation", "shift", "scale", "scale without pairs", "light", "tilt"],
)
def test_views_that_form_no_group_have_no_table(factor, values, triples):
    compositions = composed_views(views(**{factor: values}), factor)
    assert compositions.table is None
    assert compositions.triples.tolist() == triples


def test_the_tangent_of_a_shear_is_additive():
    once = 10.0
    twice = torch.rad2deg(torch.atan(2 * torch.tan(torch.deg2rad(torch.tensor(once).double()))))
    compositions = composed_views(views(shear=[once, twice.item(), 20.0]), "shear")
    assert compositions.triples.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("factor", ["tilt_x", "tilt_y"])
@pytest.mark.parametrize(("first", "second"), [(20, 20), (20, -20), (45, -15)])
def test_two_tilts_are_no_tilt(factor, first, second):
    """The reason why tilts have no compositions: no angle moves the corners as two tilts do."""
    corners = torch.tensor([[-0.5, 19.5, -0.5, 19.5], [-0.5, -0.5, 19.5, 19.5], [1, 1, 1, 1]])

    def moved(matrices):
        homogeneous = matrices @ corners.double()
        return homogeneous[:, :2] / homogeneous[:, 2:]

    one, other = Views.of_grid(views(**{factor: [first, second]})).matrices(20, 20)
    angles = [step / 10 for step in range(-890, 900)]
    tilts = Views.of_grid(views(**{factor: angles})).matrices(20, 20)
    assert (moved(tilts) - moved((one @ other)[None])).abs().amax(dim=(1, 2)).min() > 0.5


def test_a_factor_without_views_has_no_compositions():
    compositions = composed_views(views(rotation=[90]), "shift_x")
    assert (len(compositions.view_indices), len(compositions.triples), compositions.table) == (
        0,
        0,
        None,
    )
