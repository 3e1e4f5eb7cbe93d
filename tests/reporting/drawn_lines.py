"""Lines of a panel of a figure, for tests."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

Line = list[tuple[float, float]]


def drawn_lines(axes: Axes) -> list[Line]:
    """Return all lines of a panel without horizontal reference lines."""
    lines = [list(zip(*line.get_data(), strict=True)) for line in axes.get_lines()]
    return [line for line in lines if line and line != [(0, line[0][1]), (1, line[0][1])]]


def has_line(axes: Axes, points: Line) -> bool:
    """Check that a line with these points is drawn."""
    return any(
        np.shape(line) == np.shape(points) and np.allclose(line, points)
        for line in drawn_lines(axes)
    )
