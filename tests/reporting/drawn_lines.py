"""Lines of a panel of a figure, for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

Line = list[tuple[float, float]]


def drawn_lines(axes: Axes) -> list[Line]:
    """Return all lines of a panel without horizontal reference lines."""
    data = [np.asarray(line.get_xydata()).tolist() for line in axes.get_lines()]
    lines = [[(x, y) for x, y in points] for points in data]
    return [line for line in lines if line and line != [(0, line[0][1]), (1, line[0][1])]]


def has_line(axes: Axes, points: Sequence[tuple[float, float]]) -> bool:
    """Check that a line with these points is drawn."""
    return any(
        np.shape(line) == np.shape(points) and np.allclose(line, points)
        for line in drawn_lines(axes)
    )
