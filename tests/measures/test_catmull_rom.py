"""Warp by Catmull-Rom splines, against scipy, quadratics, rot90 and its own derivatives."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicHermiteSpline

from capsbench.measures._catmull_rom import catmull_rom_warp
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views


def noise(*size, dtype=torch.float64):
    return torch.rand(*size, generator=torch.Generator().manual_seed(0), dtype=dtype)


def shift(x, y):
    return torch.tensor([[[1.0, 0, x], [0, 1, y], [0, 0, 1]]], dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_identity_is_exact(dtype):
    images = noise(3, 2, 9, 14, dtype=dtype)
    warped = catmull_rom_warp(images, torch.eye(3)[None])
    assert warped.dtype == dtype
    assert torch.equal(warped, images)


def test_shifts_by_whole_pixels_copy_and_the_border_reflects():
    images = noise(1, 1, 9, 12)
    padded = np.pad(images[0, 0].numpy(), 4, mode="reflect")
    warped = catmull_rom_warp(images, shift(3.0, -2.0))[0, 0]
    np.testing.assert_allclose(warped, padded[4 + 2 : 13 + 2, 4 - 3 : 16 - 3], atol=1e-12)


@pytest.mark.parametrize("moved", [(0.3, 0.0), (-1.7, 0.6), (2.25, -0.9)], ids=str)
def test_shifts_agree_with_hermite_splines_of_scipy(moved):
    """A Catmull-Rom spline is the Hermite spline whose slopes are the central differences."""
    images = noise(1, 1, 9, 12)
    padded = np.pad(images[0, 0].numpy(), 5, mode="reflect")

    def along(values, length, by):
        slopes = (values[2:] - values[:-2]) / 2
        at = np.arange(-4, length + 4)
        return CubicHermiteSpline(at, values[1:-1], slopes)(np.arange(length) - by)

    rows = along(padded, 9, moved[1])
    expected = along(rows.T, 12, moved[0]).T
    warped = catmull_rom_warp(images, shift(*moved))[0, 0]
    np.testing.assert_allclose(warped, expected, atol=1e-12)


def test_quadratics_are_exact_inside():
    def quadratic(x, y):
        return 0.3 * x * x - 0.2 * x * y + 0.1 * y * y + x - 2 * y + 0.5

    y, x = torch.meshgrid(
        torch.arange(25, dtype=torch.float64), torch.arange(31, dtype=torch.float64), indexing="ij"
    )
    changes = {"rotation": 20, "scale": 1.3, "shear": 15, "tilt_x": 30, "tilt_y": -40}
    matrices = Views.of_grid([GridView(*each) for each in changes.items()]).matrices(25, 31)
    warped = catmull_rom_warp(quadratic(x, y).expand(5, 1, 25, 31), matrices)[:, 0]
    back = torch.linalg.inv(matrices)
    for image, matrix in zip(warped, back, strict=True):
        pixels = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
        from_x, from_y, depth = (matrix @ pixels).unflatten(1, (25, 31))
        from_x, from_y = from_x / depth, from_y / depth
        inside = (from_x >= 1) & (from_x <= 29) & (from_y >= 1) & (from_y <= 23)
        assert inside.sum() > 300
        torch.testing.assert_close(image[inside], quadratic(from_x, from_y)[inside])


def test_each_image_has_its_own_view_in_the_convention_of_views():
    images = noise(2, 3, 9, 9)
    views = Views.of_grid([GridView("rotation", 90), GridView("rotation", 180)])
    warped = catmull_rom_warp(images, views.matrices(9, 9))
    torch.testing.assert_close(warped[0], torch.rot90(images[0], 1, (1, 2)))
    torch.testing.assert_close(warped[1], torch.rot90(images[1], 2, (1, 2)))


def test_derivatives_of_first_and_second_order():
    images = noise(2, 1, 5, 6).requires_grad_()
    rows = [[1.1, 0.2, -0.37], [-0.15, 0.93, 0.41], [0.03, -0.02, 1]]
    matrices = torch.tensor([rows], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        catmull_rom_warp, (images, matrices), check_forward_ad=True, fast_mode=True
    )
    assert torch.autograd.gradgradcheck(catmull_rom_warp, (images, matrices), fast_mode=True)


def test_the_derivative_at_a_sample_is_the_central_difference_from_both_sides():
    images = noise(1, 1, 9, 12)
    central = -(images[..., 2:] - images[..., :-2]) / 2

    def moved(t):
        zero, one = torch.zeros_like(t), torch.ones_like(t)
        matrix = torch.stack([one, zero, t, zero, one, zero, zero, zero, one]).reshape(1, 3, 3)
        return catmull_rom_warp(images, matrix)[..., 1:-1]

    for near in (0.0, 1e-9, -1e-9):
        at = torch.tensor(near, dtype=torch.float64)
        slope = torch.func.jvp(moved, (at,), (torch.ones_like(at),))[1]
        torch.testing.assert_close(slope, central, atol=1e-7, rtol=0)


def test_a_shifted_sinusoid_changes_by_its_cosine():
    k, at = 2 * math.pi / 16, torch.arange(40, dtype=torch.float64)
    images = torch.sin(k * at).expand(1, 1, 5, 40)
    moved = catmull_rom_warp(images, shift(1e-6, 0.0)) - catmull_rom_warp(images, shift(-1e-6, 0.0))
    slope = moved[0, 0, 2, 1:-1] / 2e-6
    # Exact for the samples, sin(k) in place of k; for the wave itself up to k^2 / 6.
    torch.testing.assert_close(slope, -math.sin(k) * torch.cos(k * at[1:-1]), atol=1e-6, rtol=0)
    assert (slope + k * torch.cos(k * at[1:-1])).abs().max() < k**3 / 6


def test_an_image_of_one_pixel_and_a_position_far_away():
    pixel = torch.ones(1, 1, 1, 1)
    torch.testing.assert_close(catmull_rom_warp(pixel, shift(0.3, 7.5)), pixel)
    images = noise(1, 1, 4, 5)
    # The reflection has the period 2 (W - 1).
    torch.testing.assert_close(
        catmull_rom_warp(images, shift(0.25 + 8 * 125, 0.5 - 6 * 11)),
        catmull_rom_warp(images, shift(0.25, 0.5)),
    )
