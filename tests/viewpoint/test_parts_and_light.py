"""Moving parts, and changes of brightness and contrast."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.part import Window
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import relight, warp, warp_part, window


@pytest.fixture
def images():
    return torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))


def window_of(views):
    assert views.window is not None
    return window(views.centre, views.window, (20, 24))


def grid_views(part, **factors):
    return Views.of_grid([GridView(name, value, part) for name, value in factors.items()])


@given(
    st.floats(-9, 9),
    st.floats(-9, 9),
    st.floats(0.1, 15),
    st.floats(0.1, 15),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_a_window_holds_the_pixels_with_centres_inside(x, y, width, height, rows, columns):
    mask = window(torch.tensor([[x, y]]), torch.tensor([[width, height]]), (rows, columns))
    for row in range(rows):
        for column in range(columns):
            off_x, off_y = column - (columns - 1) / 2 - x, row - (rows - 1) / 2 - y
            inside = abs(off_x) < width / 2 and abs(off_y) < height / 2
            on_edge = min(abs(abs(off_x) - width / 2), abs(abs(off_y) - height / 2)) < 1e-4
            assert mask[0, 0, row, column] == inside or on_edge


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_a_part_that_stays_changes_nothing(images, padding):
    part = window(torch.zeros(2, 2), torch.tensor([[8.0, 6.0], [5.0, 9.0]]), (20, 24))
    identity = Views.identity(2).matrices(20, 24)
    assert torch.equal(warp_part(images, part, identity, padding=padding), images)


def test_a_window_is_cut_out_and_moved(images):
    part = Window(width=6, height=4, x=2, y=-1)
    views = grid_views(part, shift_x=5)
    mask = window_of(views)
    changed = warp_part(images, mask, views.matrices(20, 24))
    expected = images.clone()
    rows, columns = slice(7, 11), slice(11, 17)  # about pixel (13.5, 8.5)
    assert torch.equal(mask[0, 0].nonzero()[[0, -1]], torch.tensor([[7, 11], [10, 16]]))
    expected[:, :, rows, columns] = 0
    expected[:, :, rows, 16:22] = images[:, :, rows, columns]
    assert torch.equal(changed, expected)


def test_a_window_turns_about_its_own_centre(images):
    part = Window(width=6, height=6, x=-3, y=2)
    views = grid_views(part, rotation=90)
    changed = warp_part(images, window_of(views), views.matrices(20, 24))
    expected = images.clone()
    rows, columns = slice(9, 15), slice(6, 12)  # about pixel (8.5, 11.5)
    expected[:, :, rows, columns] = torch.rot90(images[:, :, rows, columns], 1, (2, 3))
    assert torch.equal(changed, expected)


def test_uncovered_pixels_have_the_mean_of_the_rest(images):
    mask = torch.zeros(2, 1, 20, 24)
    mask[:, :, 4:8, 5:9] = 1
    views = Views.of_grid([GridView("shift_y", 10)])
    changed = warp_part(images, mask, views.matrices(20, 24), padding="border")
    mean = (images * (1 - mask)).sum((2, 3)) / (20 * 24 - 16)
    torch.testing.assert_close(changed[:, :, 4:8, 5:9], mean[:, :, None, None].expand(-1, -1, 4, 4))
    assert torch.equal(changed[:, :, 14:18, 5:9], images[:, :, 4:8, 5:9])


def test_a_part_can_be_enlarged_and_cropped(images):
    views = Views.of_grid([GridView("scale", 2.0, Window(width=4, height=4))])
    mask = window_of(views)
    matrices = views.matrices(20, 24)
    whole = warp_part(images, mask, matrices)
    cropped = warp_part(images, mask, matrices, (12, 12))
    torch.testing.assert_close(cropped, whole[:, :, 4:16, 6:18], atol=1e-5, rtol=0)
    covered = warp(mask.expand(2, -1, -1, -1), matrices)[0, 0]
    assert (covered > 0.99).sum() >= 36  # twice as wide and high, apart from the soft edge
    outside = covered == 0
    assert torch.equal(whole[..., outside], images[..., outside])


def test_windows_are_drawn_within_the_range():
    ranges = ViewRange(part={"width": 9, "height": 5, "x": [-4, 4], "y": {"values": [0, 3]}})
    views = Views.draw(ranges, 500, torch.Generator().manual_seed(1))
    assert views.window is not None
    assert torch.equal(views.window, torch.tensor([[9.0, 5.0]], dtype=torch.float64).expand(500, 2))
    assert views.centre[:, 0].min() < -3 < 3 < views.centre[:, 0].max()
    assert views.centre[:, 1].unique().tolist() == [0, 3]
    assert len(views[:7]) == 7
    assert torch.equal(views[:7].centre, views.centre[:7])


@given(st.floats(-0.5, 0.5), st.floats(0, 3), st.integers(0, 1000))
@settings(max_examples=40)
def test_light_is_changed_in_the_authors_order(brightness, contrast, seed):
    """Brightness is added first; contrast is then applied about each channel's mean."""
    image = np.random.default_rng(seed).random((3, 6, 5))
    brighter = image + brightness
    mean = brighter.mean(axis=(1, 2), keepdims=True)
    expected = ((brighter - mean) * contrast + mean).clip(0, 1)
    stored = torch.from_numpy(image)[None]
    changed = relight(
        stored,
        stored.mean(dim=(2, 3), keepdim=True),
        torch.tensor([brightness], dtype=torch.float64),
        torch.tensor([contrast], dtype=torch.float64),
    )
    np.testing.assert_allclose(changed[0].numpy(), expected, atol=1e-12)


def test_an_image_with_unchanged_light_is_not_rounded():
    images = torch.rand(3, 1, 9, 9)
    mean = images.mean(dim=(2, 3), keepdim=True)
    changed = relight(images, mean, torch.tensor([0.0, 0.2, 0.0]), torch.tensor([1.0, 1.0, 0.5]))
    assert torch.equal(changed[0], images[0])
    assert not torch.equal(changed[1], images[1]) and not torch.equal(changed[2], images[2])


def test_has_photometric():
    assert not Views.identity(3).has_photometric
    assert grid_views(None, brightness=0.1).has_photometric
    assert grid_views(None, contrast=0.5).has_photometric
    assert not grid_views(None, rotation=20).has_photometric
