"""The Lie derivative of functions whose derivative is known."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from capsbench.capsules.backends import use_backend
from capsbench.contracts import Model, Prediction
from capsbench.measures._catmull_rom import catmull_rom_warp
from capsbench.measures._derivatives import (
    UNITS,
    Derivative,
    MeanLieDerivative,
    class_derivative,
    generating_matrix,
    lie_derivative,
)
from capsbench.names import find
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

HEIGHT, WIDTH = 20, 27


@pytest.fixture
def images():
    """Smooth noise, so that differences are close to derivatives."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(3, 1, HEIGHT + 4, WIDTH + 4, generator=generator, dtype=torch.float64)
    return F.avg_pool2d(noise, 5, 1)


def along_x(images):
    """Central differences; the border's reflection has none."""
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
        case _:
            getattr(views, direction)[0] = t
    return views.matrices(HEIGHT, WIDTH)


@pytest.mark.parametrize("direction", UNITS)
def test_images_move_as_views_move_them(direction, images):
    """Per pixel, per degree, per unit of log scale, with the signs of the warp of all measures."""
    h = 1e-6
    there, back = (warp(images, views_at(direction, t), padding="border") for t in (h, -h))
    _, derivative = lie_derivative(lambda seen: seen, images, direction)
    torch.testing.assert_close(
        inside(derivative), inside((there - back) / (2 * h)), atol=1e-5, rtol=0
    )
    assert inside(derivative).abs().max() > 1e-3


@pytest.mark.parametrize("direction", UNITS)
def test_the_group_is_that_of_views(direction):
    t = 20.0
    moved = torch.matrix_exp(t * generating_matrix(direction, HEIGHT, WIDTH))
    if direction == "shear":  # its slant grows evenly, not its angle
        t = math.degrees(math.atan(math.radians(t)))
    torch.testing.assert_close(moved, views_at(direction, t)[0])


def test_a_linear_functional(images):
    weight = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)).double()
    value, derivative = lie_derivative(
        lambda seen: (seen * weight).sum(dim=(1, 2, 3)), images, "shift_x"
    )
    torch.testing.assert_close(value, (images * weight).sum(dim=(1, 2, 3)))
    torch.testing.assert_close(derivative, -(along_x(images) * weight).sum(dim=(1, 2, 3)))


@pytest.mark.parametrize("direction", UNITS)
def test_a_constant_does_not_change(direction, images):
    found = lie_derivative(lambda seen: torch.ones(len(seen), 4).to(seen), images, direction)
    assert found.derivative.count_nonzero() == 0
    metric = MeanLieDerivative([4])
    metric.update(found)
    values = metric.compute()
    assert values["absolute"] == values["squared"] == 0
    assert values["relative"].isnan()


def test_a_constant_to_rounding_is_undefined_too():
    metric = MeanLieDerivative([3])
    value = torch.tensor([0.1, 0.2, 0.7]) * (1 + 1e-7 * torch.randn(50, 1))
    metric.update(Derivative(value, torch.zeros(50, 3)))
    assert metric.compute()["relative"].isnan()


def test_what_depends_on_the_radius_alone_does_not_see_a_rotation():
    y, x = torch.meshgrid(torch.arange(33) - 16.0, torch.arange(33) - 16.0, indexing="ij")
    ring = torch.exp(-(((x**2 + y**2).sqrt() - 8) ** 2) / 8).double()
    beside = torch.exp(-((x - 6) ** 2 + (y + 3) ** 2) / 8).double()

    def seen_by(filter_):
        return lambda seen: (seen * filter_).sum(dim=(1, 2, 3))

    image = torch.exp(-((x - 5) ** 2 + (y - 6) ** 2) / 8).double()[None, None]
    invariant = lie_derivative(seen_by(ring), image, "rotation")
    other = lie_derivative(seen_by(beside), image, "rotation")
    assert invariant.derivative.abs() < 2e-4 * invariant.value
    assert other.derivative.abs() > 2e-2 * other.value
    # Nor does an image that is itself radial.
    radial = lie_derivative(seen_by(beside), ring[None, None], "rotation")
    assert radial.derivative.abs() < 2e-4 * radial.value
    assert lie_derivative(seen_by(ring), image, "shift_x").derivative.abs() > 0.1


def test_a_convolution_moves_along_inside_the_margin(images):
    weight = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(2)).double()
    for direction in ("shift_x", "shift_y"):
        _, derivative = lie_derivative(
            lambda seen: F.conv2d(seen, weight, padding=1), images, direction, (1, 0)
        )
        assert inside(derivative, 3).abs().max() < 1e-14
        assert derivative.abs().max() > 1e-3  # the border is no place for equivariance
    # Without padding, the first place lies at pixel 1: a rotation is about another place.
    identity = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    identity[..., 1, 1] = 1
    for offset, equivariant in [(1, True), (0, False)]:
        _, derivative = lie_derivative(
            lambda seen: F.conv2d(seen, identity), images, "rotation", (1, offset)
        )
        assert (inside(derivative).abs().max() < 1e-14) == equivariant


def test_squared_pixels_alias_by_the_known_amount(images):
    """L = D(x^2) - 2 x D x = D x (x_+ + x_- - 2 x), with D the central difference."""
    _, derivative = lie_derivative(torch.square, images, "shift_x", (1, 0))
    neighbours = images[..., 2:] + images[..., :-2] - 2 * images[..., 1:-1]
    expected = inside(along_x(images), 1) * neighbours[..., 1:-1, :]
    torch.testing.assert_close(inside(derivative, 1), expected)


def test_a_map_of_stride_two_moves_by_half_a_place(images):
    """Its shift is half of the image's: D(pool x) / 2 - pool(D x)."""
    _, derivative = lie_derivative(lambda seen: F.avg_pool2d(seen, 2), images, "shift_x", (2, 0.5))
    pooled = F.avg_pool2d(images, 2)
    expected = along_x(pooled) / 2 - F.avg_pool2d(along_x(images), 2)
    torch.testing.assert_close(inside(derivative, 1), inside(expected, 1))


class Softmax(Model):
    def __init__(self, weight):
        super().__init__(image_shape=(1, HEIGHT, WIDTH), num_classes=len(weight))
        self.weight = nn.Parameter(weight)
        self.drop = nn.Dropout(0.5)

    def forward(self, images, views=None):
        return Prediction(self.drop(images.flatten(1)) @ self.weight.T)

    def loss(self, prediction, batch, progress):
        return prediction.scores.mean()


def test_the_probabilities_of_a_linear_model(images):
    model = Softmax(torch.randn(4, HEIGHT * WIDTH, generator=torch.Generator().manual_seed(4)) / 3)
    images = images.float()
    found = class_derivative(model.train(), images, "shift_x")
    assert model.training and model.drop.training
    assert not found.derivative.requires_grad
    probabilities = (images.flatten(1) @ model.weight.T).softmax(-1).detach()
    scores = (-along_x(images).flatten(1) @ model.weight.T).detach()
    expected = probabilities * (scores - (probabilities * scores).sum(-1, keepdim=True))
    torch.testing.assert_close(found.value, probabilities, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.derivative, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_capsules_are_differentiated_in_the_form_of_the_textbook(backend):
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
    found = class_derivative(model, images, "rotation")
    assert model.classes.backend == backend

    def at(degrees):
        views = Views.identity(1)
        views.rotation[0] = degrees
        seen = catmull_rom_warp(images, views.matrices(14, 14))
        return model.log_probabilities(model(seen)).exp().detach()

    expected = (at(0.1) - at(-0.1)) / 0.2
    # In fp32, and with the kinks of the ReLU between the two views.
    assert (found.derivative - expected).norm() < 0.05 * expected.norm()


def test_the_metric_agrees_with_all_pairs_whatever_the_batches():
    generator = torch.Generator().manual_seed(0)
    value, derivative = torch.randn(2, 11, 3, 2, generator=generator).double()
    value = value + 5
    metric = MeanLieDerivative([3, 2])
    for part in (slice(0, 7), slice(7, 8), slice(8, 11)):
        metric.update(Derivative(value[part], derivative[part]))
    squared = derivative.square().sum(dim=(1, 2)).mean()
    distances = torch.cdist(value.flatten(1), value.flatten(1)).square()
    pairs = distances.sum() / (11 * 10)
    found = metric.compute()
    expected = {
        "absolute": derivative.abs().mean(),
        "squared": squared,
        "relative": (squared / pairs).sqrt(),
    }
    torch.testing.assert_close(found, expected)
    figure, axes = metric.plot()
    assert [line.get_label() for line in axes.lines] == list(expected)
    figure.clear()
    alone = MeanLieDerivative([3, 2])
    alone.update(Derivative(value[:1], derivative[:1]))
    assert alone.compute()["relative"].isnan()
