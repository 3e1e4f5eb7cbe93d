import numpy as np
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_hex

from capsbench.reporting.figures.capsules import GAP, assignment_maps, pose_sweep
from capsbench.reporting.figures.plotting import png, svg
from capsbench.reporting.figures.style import SERIES

RANDOM = np.random.default_rng(0)
OFFSETS = (-0.25, 0.0, 0.25)


def visible(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_sweep_has_a_row_for_each_number_and_a_column_for_each_change(channels):
    images = RANDOM.random((4, 3, channels, 5, 7))
    figure = pose_sweep(images, OFFSETS)
    (axes,) = figure.axes
    mosaic = np.asarray(axes.images[0].get_array())
    assert mosaic.shape == (4 * (5 + GAP), 3 * (7 + GAP), 4)
    for row in range(4):
        for column in range(3):
            top, left = row * (5 + GAP), column * (7 + GAP)
            tile = mosaic[top : top + 5, left : left + 7]
            for channel in range(3):
                expected = images[row, column, channel if channels == 3 else 0]
                np.testing.assert_array_equal(tile[..., channel], expected)
            assert (tile[..., 3] == 1).all()
            assert not mosaic[top + 5 : top + 5 + GAP, left : left + 7, 3].any()  # see-through
    assert [text.get_text() for text in axes.get_xticklabels()] == ["-0.25", "0", "+0.25"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["1", "2", "3", "4"]
    assert list(axes.get_xticks()) == [3.5, 3.5 + 7 + GAP, 3.5 + 2 * (7 + GAP)]


def test_maps_are_drawn_at_their_places_in_the_image():
    image = RANDOM.random((1, 10, 12))
    maps = RANDOM.random((2, 3, 4))
    figure = assignment_maps(image, maps, ["a", "b", "c", "$d"], stride=4, offset=2.5)
    first, *panels = visible(figure)
    assert np.asarray(first.images[0].get_array()).shape == (10, 12, 4)
    titles = [panel.get_title() for panel in panels]
    assert titles == [f"{n}: {maps[..., i].sum():.1f}" for i, n in enumerate(["a", "b", "c", "$d"])]
    difference = maps - maps.mean(axis=2, keepdims=True)
    for index, panel in enumerate(panels):
        cells, outline = panel.collections
        assert isinstance(cells, PatchCollection)
        assert outline.get_paths()[0].vertices.size
        colors, expected = np.asarray(cells.get_facecolor()), difference[..., index].ravel()
        np.testing.assert_allclose(colors[:, 3], abs(expected) / abs(difference).max())
        for color, value in zip(colors, expected, strict=True):
            assert to_hex(color) == SERIES[0 if value > 0 else 1].color
        boxes = [path.get_extents() for path in cells.get_paths()]
        assert boxes[0].bounds == (0.5, 0.5, 4, 4)  # around pixel 2.5
        assert boxes[1].bounds == (4.5, 0.5, 4, 4)  # then across
        assert boxes[3].bounds == (0.5, 4.5, 4, 4)  # then down
        assert (panel.get_xlim(), panel.get_ylim()) == (first.get_xlim(), first.get_ylim())
    assert first.get_xlim() == (-0.5, 11.5)
    assert first.get_ylim() == (9.5, -0.5)


def test_unused_panels_are_hidden():
    figure = assignment_maps(
        np.zeros((3, 8, 8)), np.zeros((1, 1, 7)), list("abcdefg"), stride=8, offset=3.5
    )
    assert len(figure.axes) == 12
    assert len(visible(figure)) == 8
    assert png(figure)


def sweep():
    return pose_sweep(np.ones((2, 3, 1, 4, 4)), OFFSETS)


def maps():
    image, shares = np.eye(8)[None], np.stack([np.eye(2), 1 - np.eye(2)])
    return assignment_maps(image, shares, ["a", "b"], stride=4, offset=1.5)


@pytest.mark.parametrize("draw", [sweep, maps])
def test_same_figure_same_bytes(draw):
    assert svg(draw()) == svg(draw())
    assert png(draw()) == png(draw())
