"""Views of a grid."""

import pytest

from capsbench.viewpoint.grid import GridView


@pytest.mark.parametrize(
    ("view", "identity"),
    [
        (GridView("rotation", 0), True),
        (GridView("rotation", -360), True),
        (GridView("rotation", 180), False),
        (GridView("scale", 1), True),
        (GridView("scale", 0.5), False),
        (GridView("shift_x", 360), False),
        (GridView("contrast", 1), True),
        (GridView("azimuth", 0), False),
    ],
    ids=lambda value: value.key if isinstance(value, GridView) else str(value),
)
def test_identity_views(view, identity):
    assert view.is_identity is identity
