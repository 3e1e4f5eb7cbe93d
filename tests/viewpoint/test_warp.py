"""Conventions of views, checked against rot90, slicing, scipy and kornia."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.geometry.transform import (
    get_affine_matrix2d,
    get_rotation_matrix2d,
    get_shear_matrix2d,
    rotate,
    scale,
    translate,
)
from scipy.ndimage import affine_transform

from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import on_lattice, warp


def one_view(**factors: float | tuple[float, float]) -> Views:
    view = Views.identity(1)
    for name, value in factors.items():
        getattr(view, name)[0] = torch.tensor(value, dtype=torch.float64)
    return view


def warped(images, **factors):
    return warp(images, one_view(**factors).matrices(*images.shape[-2:]))


@pytest.fixture
def images():
    return torch.rand(3, 2, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("turns", [-2, -1, 0, 1, 2, 3, 5])
@pytest.mark.parametrize("side", [27, 28])
def test_quarter_turns_are_rot90_bit_for_bit(turns, side):
    images = torch.rand(2, 1, side, side)
    # rot90 with k=1 turns counter-clockwise as seen on the screen.
    assert torch.equal(warped(images, rotation=90.0 * turns), torch.rot90(images, turns, (2, 3)))


@pytest.mark.parametrize("side", [930, 2048, 4096])
def test_quarter_turns_and_shifts_of_large_images_are_exact(side):
    for degrees in (-180.0, -90.0, 90.0, 180.0, 270.0, 450.0):
        matrix = one_view(rotation=degrees, shift=(7.0, -300.0)).matrices(side, side)
        assert on_lattice(matrix).all()
    for degrees in (1e-4, 90.0001):
        assert not on_lattice(one_view(rotation=degrees).matrices(side, side)).any()


def test_no_image_is_a_batch_of_none():
    matrices = Views.identity(0).matrices(9, 9)
    assert warp(torch.rand(0, 2, 9, 9), matrices, (5, 5)).shape == (0, 2, 5, 5)


def test_half_turn_of_an_oblong_image_is_exact():
    images = torch.rand(2, 1, 20, 31)
    assert torch.equal(warped(images, rotation=180.0), images.flip(2, 3))


def test_shift_is_right_and_down_bit_for_bit(images):
    shifted = warped(images, shift=(3.0, -2.0))
    expected = torch.zeros_like(images)
    expected[:, :, :-2, 3:] = images[:, :, 2:, :-3]
    assert torch.equal(shifted, expected)


def test_scale_above_one_enlarges():
    square = torch.zeros(1, 1, 32, 32)
    square[..., 12:20, 12:20] = 1
    assert warped(square, scale=(2.0, 2.0)).sum() == pytest.approx(4 * 64, rel=0.02)
    wide = warped(square, scale=(2.0, 1.0))[0, 0]
    assert (wide.sum(0) > 0.5).sum() > (wide.sum(1) > 0.5).sum()


def test_positive_shear_moves_lower_rows_right():
    line = torch.zeros(1, 1, 33, 33)
    line[..., 16] = 1
    sheared = warped(line, shear=30.0)[0, 0]
    assert sheared[28].argmax() > 16 > sheared[4].argmax()


factors = st.fixed_dictionaries(
    {
        "rotation": st.floats(-180, 180),
        "shift": st.tuples(st.floats(-8, 8), st.floats(-8, 8)),
        "scale": st.tuples(st.floats(0.4, 2.5), st.floats(0.4, 2.5)),
        "shear": st.floats(-40, 40),
    }
)


@given(factors)
@settings(max_examples=60, deadline=None)
def test_warp_agrees_with_scipy(view):
    image = torch.rand(21, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrix = one_view(**view).matrices(21, 30)
    ours = warp(image[None, None], matrix)[0, 0].numpy()
    # scipy wants the map from output to input, in (row, column) order; zeros continue the image.
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    inverse = swap @ np.linalg.inv(matrix[0].numpy()) @ swap
    theirs = affine_transform(image.numpy(), inverse, order=1, mode="grid-constant")
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@given(factors)
@settings(max_examples=30, deadline=None)
def test_matrices_agree_with_kornia_and_with_their_definition(view):
    ours = one_view(**view).matrices(21, 30)[0].numpy()
    centre = np.array([14.5, 10.0])
    # kornia's get_affine_matrix2d turns clockwise, and shears with another sign and order.
    unsheared = get_affine_matrix2d(
        torch.tensor([view["shift"]], dtype=torch.float64),
        torch.from_numpy(centre)[None],
        torch.tensor([view["scale"]], dtype=torch.float64),
        torch.tensor([-view["rotation"]], dtype=torch.float64),
    )[0].numpy()
    angle, slant = np.deg2rad([view["rotation"], view["shear"]])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1, np.tan(slant)], [0, 1]]) @ np.diag(view["scale"])
    np.testing.assert_allclose(ours[:2, :2], linear, atol=1e-12)
    np.testing.assert_allclose(ours @ [*centre, 1], [*(centre + view["shift"]), 1], atol=1e-9)
    straight = one_view(**{**view, "shear": 0.0}).matrices(21, 30)[0].numpy()
    np.testing.assert_allclose(straight, unsheared, atol=1e-9)


def test_signs_against_functions_of_kornia(images):
    thirty = torch.tensor([30.0], dtype=torch.float64)
    centre = torch.tensor([[13.5, 13.5]], dtype=torch.float64)
    ones, zeros = torch.ones(1, 2).double(), torch.zeros(1, 2).double()
    ours = one_view(rotation=30.0).matrices(28, 28)
    # kornia turns counter-clockwise here, ...
    torch.testing.assert_close(ours[:, :2], get_rotation_matrix2d(centre, thirty, ones))
    turned = rotate(images, thirty.float().expand(3))
    torch.testing.assert_close(warped(images, rotation=30.0), turned, atol=1e-5, rtol=0)
    # ... clockwise here, ...
    torch.testing.assert_close(ours, get_affine_matrix2d(zeros, centre, ones, -thirty))
    # ... and shears to the other side.
    sheared = one_view(shear=30.0).matrices(28, 28)
    torch.testing.assert_close(sheared, get_shear_matrix2d(centre, -torch.deg2rad(thirty)))
    moved = translate(images, torch.tensor([[2.5, -1.25]]).expand(3, 2))
    torch.testing.assert_close(warped(images, shift=(2.5, -1.25)), moved, atol=1e-5, rtol=0)
    enlarged = scale(images, torch.tensor([[1.5, 0.8]]).expand(3, 2))
    torch.testing.assert_close(warped(images, scale=(1.5, 0.8)), enlarged, atol=1e-5, rtol=0)


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("size", [(1, 9), (9, 1), (1, 1), (6, 17)])
def test_thin_images_and_other_sizes(padding, size):
    images = torch.rand(2, 3, *size)
    assert torch.equal(warp(images, Views.identity(1).matrices(*size), padding=padding), images)
    matrices = Views.draw(
        ViewRange(rotation=(-180, 180), shift=(-3, 3), scale=(0.5, 2)),
        2,
        torch.Generator().manual_seed(0),
    ).matrices(*size)
    warped = warp(images, matrices, (5, 8), padding=padding)
    expected = warp(images.double(), matrices, (5, 8), padding=padding)
    torch.testing.assert_close(warped.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_bytes_are_divided_by_255(padding):
    images = torch.randint(256, (3, 2, 9, 7), dtype=torch.uint8)
    matrices = Views.draw(
        ViewRange(rotation=(-90, 90)), 3, torch.Generator().manual_seed(2)
    ).matrices(9, 7)
    warped = warp(images, matrices, padding=padding)
    assert warped.dtype == torch.float32
    assert torch.equal(warped, warp(images.float() / 255, matrices, padding=padding))


def test_gradients_and_derivatives_pass_through_the_warp():
    images = torch.rand(1, 1, 8, 8, requires_grad=True)
    matrix = one_view(rotation=20.0).matrices(8, 8)
    warp(images, matrix).sum().backward()
    assert images.grad is not None
    # The warp is linear: its derivative along an image is the warp of that image.
    along = torch.rand(1, 1, 8, 8)
    derivative = torch.func.jvp(lambda x: warp(x, matrix), (images.detach(),), (along,))[1]
    torch.testing.assert_close(derivative, warp(along, matrix))


def test_composition_is_the_product_of_matrices(images):
    turn = one_view(rotation=90.0).matrices(28, 28)
    move = one_view(shift=(4.0, 1.0)).matrices(28, 28)
    assert torch.equal(warp(images, move @ turn), warp(warp(images, turn), move))


def test_each_image_has_its_own_view(images):
    views = Views.of_grid(
        [GridView("rotation", 90), GridView("rotation", 20), GridView("scale", 1.3)]
    )
    together = warp(images, views.matrices(28, 28))
    alone = [warp(images[i : i + 1], views[i : i + 1].matrices(28, 28)) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=0)
    assert torch.equal(together[0], torch.rot90(images[0], 1, (1, 2)))


def test_only_whole_pixel_maps_are_exact():
    views = Views.of_grid(
        [
            GridView("rotation", 270),
            GridView("shift_x", 3),
            GridView("shift_y", 0.5),
            GridView("rotation", 45),
            GridView("scale", 2),
        ]
    )
    assert on_lattice(views.matrices(28, 28)).tolist() == [True, True, False, False, False]
    # A quarter turn of an image with sides of different parity puts pixels between pixels.
    assert not on_lattice(views.matrices(28, 29))[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_is_kept(images, dtype):
    assert warped(images.to(dtype), rotation=30.0).dtype == dtype


def test_drawn_views_stay_in_range_and_do_not_depend_on_each_other():
    ranges = ViewRange(rotation=(-15, 15), shift=(-2, 3), scale=(0.8, 1.2), shear=(-5, 5))
    views = Views.draw(ranges, 1000, torch.Generator().manual_seed(3))
    for drawn, spread in [
        (views.rotation, ranges.rotation),
        (views.shift, ranges.shift),
        (views.scale, ranges.scale),
        (views.shear, ranges.shear),
    ]:
        low, high = spread.limits
        assert low <= drawn.min() < low + 0.1 * (high - low)
        assert high >= drawn.max() > high - 0.1 * (high - low)
    assert torch.equal(views.scale[:, 0], views.scale[:, 1])
    # Neither another factor's range nor the number of views changes what is drawn.
    fewer = Views.draw(ViewRange(rotation=(-15, 15)), 10, torch.Generator().manual_seed(3))
    assert torch.equal(fewer.rotation, views.rotation[:10])
    assert torch.equal(fewer.shift, torch.zeros(10, 2, dtype=torch.float64))
