"""Small CNNs with one change each: blurred pooling, coordinates, a spatial transformer."""

import pytest
import torch
from scipy import ndimage
from torch import nn

from capsbench.models._pooling import Blur
from capsbench.models.cnn_coordconv import Coordinates
from capsbench.models.cnn_stn import SpatialTransformer


def last_layer(transformer):
    layer = transformer.localisation[-1]
    assert isinstance(layer, nn.Linear)
    return layer


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_blur_is_the_binomial_filter_of_scipy():
    maps = torch.rand(2, 3, 7, 9, dtype=torch.float64)
    blurred = maps.numpy()
    for axis in (2, 3):
        blurred = ndimage.correlate1d(blurred, [0.25, 0.5, 0.25], axis=axis, mode="mirror")
    expected = torch.from_numpy(blurred[:, :, ::2, ::2].copy())
    torch.testing.assert_close(Blur(2)(maps), expected, rtol=1e-7, atol=1e-9)


def test_blurred_pooling_has_the_parameters_and_sizes_of_max_pooling(build):
    sizes = {"width": 4, "hidden": 8}
    plain, blurred = build("cnn-small", **sizes), build("cnn-antialiased", **sizes)
    images = torch.rand(2, 1, 28, 28)
    assert count(plain) == count(blurred)
    one, other = plain.block1(images), blurred.block1(images)
    assert one.shape == other.shape
    layers = (model.layers_of_interest()["block 3"] for model in (plain, blurred))
    assert len({(layer.stride, layer.offset) for layer in layers}) == 1


def test_a_blurred_map_changes_less_with_a_shift_of_a_pixel(build):
    """A wave of three pixels aliases in max-pooling of stride two."""
    columns = torch.arange(64.0)
    maps = (2 * torch.pi * columns / 3).cos().expand(1, 1, 64, 64)
    changes = []
    for name in ("cnn-small", "cnn-antialiased"):
        pooling = build(name, (1, 64, 64)).block1[2:]
        one, other = pooling(maps), pooling(maps.roll(1, dims=3))
        changes.append(float((one - other)[..., 4:-4, 4:-4].square().mean()))
    assert changes[1] < 0.2 * changes[0]


def test_coordinates_run_from_the_left_and_top_to_the_right_and_bottom(build):
    features = Coordinates()(torch.rand(2, 3, 5, 7))
    assert features.shape == (2, 5, 5, 7)
    assert features[1, 3, 2].tolist() == pytest.approx(
        [-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1], abs=1e-6
    )
    assert features[0, 4, :, 0].tolist() == pytest.approx([-1, -0.5, 0, 0.5, 1], abs=1e-6)
    plain, model = build("cnn-small"), build("cnn-coordconv", width=8, hidden=16)
    assert count(model) == count(plain) + 2 * 9 * 8


@pytest.mark.parametrize("transformation", ["affine", "similarity", "translation"])
def test_a_transformer_starts_with_the_identity_and_learns(transformation):
    torch.manual_seed(0)
    transformer = SpatialTransformer((1, 12, 16), transformation=transformation, width=4)
    images = torch.rand(3, 1, 12, 16)
    torch.testing.assert_close(transformer(images), images)
    transformer(images).square().sum().backward()
    gradient = last_layer(transformer).weight.grad
    assert gradient is not None and gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("transformation", "numbers", "expected"),
    [
        ("affine", [-1.0, 1.0, 0.0, -1.0, -1.0, 0.0], lambda x: x.rot90(-1, (2, 3))),
        ("similarity", [-1.0, -1.0, 0.0, 0.0], lambda x: x.rot90(-1, (2, 3))),
        ("affine", [-2.0, 0.0, 0.0, 0.0, 0.0, 0.0], lambda x: x.flip(3)),
    ],
)
def test_a_transformer_moves_the_sampling_grid(transformation, numbers, expected):
    transformer = SpatialTransformer((1, 8, 8), transformation=transformation, width=4)
    with torch.no_grad():
        last_layer(transformer).bias.copy_(torch.tensor(numbers))
    images = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(transformer(images), expected(images), rtol=1e-4, atol=1e-5)


def test_maps_behind_a_transformer_keep_their_steps(build):
    plain, moved = (build(name).layers_of_interest() for name in ("cnn-small", "cnn-stn"))
    assert all((moved[n].stride, moved[n].offset) == (x.stride, x.offset) for n, x in plain.items())
    assert moved["block 3"].stride == 8


@pytest.mark.parametrize("transformation", ["translation", "similarity"])
def test_a_shift_of_the_grid_by_a_pixel_shifts_the_image(transformation):
    transformer = SpatialTransformer((1, 8, 8), transformation=transformation, width=4)
    with torch.no_grad():
        last_layer(transformer).bias[-2:].copy_(torch.tensor([2 / 8, 0.0]))
    images = torch.rand(2, 1, 8, 8)
    moved = transformer(images)
    torch.testing.assert_close(moved[..., :-1], images[..., 1:], rtol=1e-4, atol=1e-5)
