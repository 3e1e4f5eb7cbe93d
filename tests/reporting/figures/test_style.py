"""Colors and line styles: told apart by color-blind readers, and readable on paper."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from capsbench.reporting.figures.style import PAPER, SERIES, line_style, series

# Machado, Oliveira & Fernandes (2009), complete loss of one kind of cone, on linear RGB.
VISION = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
    "three cones": np.eye(3),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = TO_XYZ.sum(axis=1)
LEAST = 5  # CIE76; 2.3 is just noticeable


def linear(color):
    """Return linear RGB, (3,) in [0, 1]."""
    shares = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """Return CIELAB of linear RGB."""
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("paper", ["color", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_series_of_one_line_style_are_told_apart_by_color(vision, paper):
    seen = [lab(np.array(VISION[vision]) @ linear(getattr(each, paper))) for each in SERIES]
    for one, other in combinations(range(len(SERIES)), 2):
        if line_style(one) == line_style(other):
            assert np.linalg.norm(seen[one] - seen[other]) > LEAST, (one, other)


def test_24_series_differ_in_color_or_line_style():
    assert len({(series(index).color, line_style(index)) for index in range(24)}) == 24
    assert len({each.marker for each in SERIES}) == len(SERIES)


def test_contrast_on_paper():
    luminance = [TO_XYZ[1] @ linear(color) for color in (PAPER, *(each.color for each in SERIES))]
    assert all((luminance[0] + 0.05) / (each + 0.05) >= 3 for each in luminance[1:])
