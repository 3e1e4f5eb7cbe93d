"""Lie derivatives of functions whose derivative is known."""

import math

import pytest
import torch
from torch.nn import functional as F

from capsbench.capsules.backends import routing_backend, use_backend
from capsbench.measures._catmull_rom import catmull_rom_warp
from capsbench.measures._derivatives import generating_matrix, lie_derivatives
from capsbench.names import find
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

HEIGHT, WIDTH = 20, 27
DIRECTIONS = ("shift_x", "shift_y", "rotation", "scale", "shear", "tilt_x", "tilt_y")


def lie_derivative(function, images, direction, grid=None):
    """Return the Lie derivative of one function; its maps are warped back with a grid."""
    grids = {} if grid is None else {"": grid}
    return lie_derivatives(lambda moved: {"": function(moved)}, images, direction, grids)[""]


@pytest.fixture
def images():
    """Images of smooth noise, whose differences are close to derivatives."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(3, 1, HEIGHT + 4, WIDTH + 4, generator=generator, dtype=torch.float64)
    return F.avg_pool2d(noise, 5, 1)


def along_x(images):
    """Return central differences, 0 at the border, where the image is reflected."""
    return F.pad(images[..., 2:] - images[..., :-2], (1, 1)) / 2


def inside(maps, margin=2):
    return maps[..., margin:-margin, margin:-margin]


def views_at(direction, t):
    views = Views.identity(1)
    match direction:
        case "shift_x" | "shift_y":
            views.shift[0, "xy".index(direction[-1])] = t
        case "scale":
            views.scale[:] = math.exp(t)
        case "tilt_x" | "tilt_y":
            views = Views.of_grid([GridView(direction, t)])
        case _:
            getattr(views, direction)[0] = t
    return views.matrices(HEIGHT, WIDTH)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_images_move_as_by_views(direction, images):
    """Units are pixels, degrees and log scale, with the signs of `warp`."""
    h = 1e-6
    there, back = (warp(images, views_at(direction, t), padding="border") for t in (h, -h))
    _, derivative = lie_derivative(lambda moved: moved, images, direction)
    torch.testing.assert_close(
        inside(derivative), inside((there - back) / (2 * h)), atol=1e-5, rtol=0
    )
    assert inside(derivative).abs().max() > 1e-3


@pytest.mark.parametrize("direction", DIRECTIONS[:5])
def test_the_generated_matrices_are_those_of_views(direction):
    t = 20.0
    moved = torch.matrix_exp(t * generating_matrix(direction, HEIGHT, WIDTH))
    if direction == "shear":  # the slant is proportional to t, not the angle
        t = math.degrees(math.atan(math.radians(t)))
    torch.testing.assert_close(moved, views_at(direction, t)[0])


@pytest.mark.parametrize("direction", ["tilt_x", "tilt_y"])
def test_tilts_are_generated_to_first_order(direction):
    h = 1e-4
    generating = generating_matrix(direction, HEIGHT, WIDTH)
    difference = (views_at(direction, h) - views_at(direction, -h))[0] / (2 * h)
    torch.testing.assert_close(generating, difference, atol=1e-10, rtol=1e-6)
    # The camera is further away from a larger image, and its turn changes less per pixel.
    larger = generating_matrix(direction, 2 * HEIGHT, 2 * WIDTH)
    torch.testing.assert_close(2 * larger[2, :2], generating[2, :2])


@pytest.mark.parametrize("direction", ["tilt_x", "tilt_y"])
def test_a_map_of_stride_two_tilts_with_its_image(direction, images):
    """Every other pixel of a smooth image moves as the image does, up to its curvature."""
    smooth = F.avg_pool2d(F.avg_pool2d(images, 5, 1, padding=2), 5, 1, padding=2)
    errors = []
    for offset in (1, 0):  # the first position lies at pixel 1
        _, derivative = lie_derivative(
            lambda moved: moved[..., 1::2, 1::2], smooth, direction, (2, offset)
        )
        errors.append(inside(derivative, 3).abs().mean())
    _, derivative = lie_derivative(lambda moved: moved[..., 1::2, 1::2], smooth, direction)
    assert errors[0] < 0.2 * inside(derivative, 3).abs().mean()
    assert errors[0] < 0.5 * errors[1]


def test_a_linear_functional(images):
    weight = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)).double()
    value, derivative = lie_derivative(
        lambda moved: (moved * weight).sum(dim=(1, 2, 3)), images, "shift_x"
    )
    torch.testing.assert_close(value, (images * weight).sum(dim=(1, 2, 3)))
    torch.testing.assert_close(derivative, -(along_x(images) * weight).sum(dim=(1, 2, 3)))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_constant_does_not_change(direction, images):
    result = lie_derivative(lambda moved: torch.ones(len(moved), 4).to(moved), images, direction)
    assert result.derivative.count_nonzero() == 0


def test_functions_of_the_radius_are_invariant_to_rotation():
    y, x = torch.meshgrid(torch.arange(33) - 16.0, torch.arange(33) - 16.0, indexing="ij")
    ring = torch.exp(-(((x**2 + y**2).sqrt() - 8) ** 2) / 8).double()
    neighbour = torch.exp(-((x - 6) ** 2 + (y + 3) ** 2) / 8).double()

    def filtered(filter_):
        return lambda moved: (moved * filter_).sum(dim=(1, 2, 3))

    image = torch.exp(-((x - 5) ** 2 + (y - 6) ** 2) / 8).double()[None, None]
    invariant = lie_derivative(filtered(ring), image, "rotation")
    other = lie_derivative(filtered(neighbour), image, "rotation")
    assert invariant.derivative.abs() < 2e-4 * invariant.value
    assert other.derivative.abs() > 2e-2 * other.value
    # A radial image has no derivative either.
    radial = lie_derivative(filtered(neighbour), ring[None, None], "rotation")
    assert radial.derivative.abs() < 2e-4 * radial.value
    assert lie_derivative(filtered(ring), image, "shift_x").derivative.abs() > 0.1


def test_a_convolution_is_equivariant_inside_the_margin(images):
    weight = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(2)).double()
    for direction in ("shift_x", "shift_y"):
        _, derivative = lie_derivative(
            lambda moved: F.conv2d(moved, weight, padding=1), images, direction, (1, 0)
        )
        assert inside(derivative, 3).abs().max() < 1e-14
        assert derivative.abs().max() > 1e-3  # at the border it is not
    # Without padding the first place lies at pixel 1: the rotation has another centre.
    identity = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    identity[..., 1, 1] = 1
    for offset, equivariant in [(1, True), (0, False)]:
        _, derivative = lie_derivative(
            lambda moved: F.conv2d(moved, identity), images, "rotation", (1, offset)
        )
        assert (inside(derivative).abs().max() < 1e-14) == equivariant


def test_squared_pixels_alias_by_a_known_amount(images):
    """L = D(x^2) - 2 x D x = D x (x_+ + x_- - 2 x), with D the central difference."""
    _, derivative = lie_derivative(torch.square, images, "shift_x", (1, 0))
    neighbours = images[..., 2:] + images[..., :-2] - 2 * images[..., 1:-1]
    expected = inside(along_x(images), 1) * neighbours[..., 1:-1, :]
    torch.testing.assert_close(inside(derivative, 1), expected)


def test_a_map_of_stride_two_moves_by_half_a_place(images):
    """The map moves by half of the image's shift: D(pool x) / 2 - pool(D x)."""
    _, derivative = lie_derivative(
        lambda moved: F.avg_pool2d(moved, 2), images, "shift_x", (2, 0.5)
    )
    pooled = F.avg_pool2d(images, 2)
    expected = along_x(pooled) / 2 - F.avg_pool2d(along_x(images), 2)
    torch.testing.assert_close(inside(derivative, 1), inside(expected, 1))


def test_the_probabilities_of_a_linear_model(images):
    weight = torch.randn(4, HEIGHT * WIDTH, generator=torch.Generator().manual_seed(4)) / 3
    images = images.float()

    def probabilities(moved):
        return (moved.flatten(1) @ weight.T).softmax(-1)

    result = lie_derivative(probabilities, images, "shift_x")
    scores = -along_x(images).flatten(1) @ weight.T
    p = probabilities(images)
    expected = p * (scores - (p * scores).sum(-1, keepdim=True))
    torch.testing.assert_close(result.value, p, atol=1e-6, rtol=0)
    torch.testing.assert_close(result.derivative, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_capsules_are_differentiated_in_the_textbook_backend(backend):
    torch.manual_seed(0)
    model = find("models", "capsnet-dr").load()(
        image_shape=(1, 14, 14),
        num_classes=3,
        channels=6,
        kernel=3,
        primary_types=2,
        primary_dim=4,
        primary_kernel=3,
        class_dim=4,
        decoder=(),
    )
    use_backend(model, backend)
    images = F.avg_pool2d(torch.rand(8, 1, 18, 18), 5, 1)

    def probabilities(moved):
        return model.log_probabilities(model(moved)).exp()

    with torch.no_grad(), routing_backend(model, "textbook"):
        result = lie_derivative(probabilities, images, "rotation")
    assert model.classes.backend == backend

    def at(degrees):
        views = Views.identity(1)
        views.rotation[0] = degrees
        return probabilities(catmull_rom_warp(images, views.matrices(14, 14))).detach()

    expected = (at(0.1) - at(-0.1)) / 0.2
    # In fp32, and with the kinks of the ReLU between the two views.
    assert (result.derivative - expected).norm() < 0.05 * expected.norm()
