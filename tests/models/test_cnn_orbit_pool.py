import math

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicHermiteSpline
from torch import nn

from capsbench.arguments import resolve
from capsbench.errors import UserError
from capsbench.models._filter_bank import OrbitConvolution, filter_copies, transform_images
from capsbench.models.cnn_orbit_pool import CNNOrbitPool


def squares(size):
    """Return the squared distances of the pixels from the centre of an image."""
    steps = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return steps[:, None] ** 2 + steps**2


def blobs(count=4, size=40, seed=0):
    """Return smooth images, empty near the border and where a rotation leaves the image."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y, x = steps[:, None], steps
    images = torch.zeros(count, 1, size, size, dtype=torch.float64)
    for _ in range(12):
        centre = 7 * torch.rand(2, count, 1, 1, 1, generator=generator) - 3.5
        wide = 2.5 + torch.rand(2, count, 1, 1, 1, generator=generator)
        light = torch.rand(count, 1, 1, 1, generator=generator)
        images += light * torch.exp(
            -(((y - centre[0]) / wide[0]) ** 2) - ((x - centre[1]) / wide[1]) ** 2
        )
    return images * (squares(size) < (size / 2 - 4) ** 2)


def layer(seed=0, channels=3, rotations=8, **more):
    torch.manual_seed(seed)
    return OrbitConvolution(1, channels, kernel=5, rotations=rotations, **more).double()


def network(size=40, seed=0, rotations=4, **more):
    torch.manual_seed(seed)
    model = CNNOrbitPool(
        image_shape=(1, size, size), num_classes=5, width=3, rotations=rotations, **more
    ).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after some training
            nn.init.normal_(module.bias, std=0.2)
    for _ in range(3):
        model(blobs(8, size=size))
    return model.eval()


def learned(kernel=5, seed=0):
    """Return the weights of a filter on its disc, and the square that contains them."""
    half = kernel // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disc = np.hypot(x, y) <= kernel / 2
    weights = np.random.default_rng(seed).normal(size=disc.sum())
    square = np.zeros((kernel, kernel))
    square[disc] = weights
    return weights, square


# Keys' cubic convolution is the spline whose slope at a point is that between its neighbours.
KEYS = CubicHermiteSpline(range(-3, 4), [0, 0, 0, 1, 0, 0, 0], [0, 0, 0.5, 0, -0.5, 0, 0])


def resampled(square, *, degrees, scale, size):
    """Rotate a filter counter-clockwise on the screen and enlarge it, in a loop over weights."""
    half, centre = size // 2, len(square) // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    angle = math.radians(degrees)
    from_x = (math.cos(angle) * x - math.sin(angle) * y) / scale
    from_y = (math.sin(angle) * x + math.cos(angle) * y) / scale
    covered = np.hypot(x, y) <= scale * len(square) / 2
    copy = np.zeros((size, size))
    for row, column in zip(*np.nonzero(square), strict=True):
        away_y, away_x = from_y + centre - row, from_x + centre - column
        share = KEYS(away_y.clip(-3, 3)) * KEYS(away_x.clip(-3, 3)) * covered
        copy += square[row, column] * share / share.sum()
    return copy


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_copies_are_resampled_filters(kernel):
    weights, square = learned(kernel)
    scales = (1.0, 1.5, 2.0)
    copies = filter_copies(kernel, rotations=8, scales=scales).double().numpy() @ weights
    size = 2 * int(2.0 * kernel / 2) + 1
    assert copies.shape == (24, size, size)
    for number, copy in enumerate(copies):
        scale, degrees = scales[number // 8], 45 * (number % 8)
        expected = resampled(square, degrees=degrees, scale=scale, size=size)
        np.testing.assert_allclose(copy, expected, atol=1e-6)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_every_copy_has_the_response_of_the_filter_to_a_constant(kernel):
    copies = filter_copies(kernel, rotations=7, scales=(1.0, 1.15, 1.5, 2.0))
    sums = copies.sum(dim=(1, 2))
    torch.testing.assert_close(sums, torch.ones_like(sums))


def test_interpolation_smooths_as_the_docstring_states():
    copies = filter_copies(5, rotations=8, scales=(1.0, 1.5)).double().flatten(1, 2)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(21, 4000, dtype=torch.float64, generator=generator)
    norms = ((copies @ weights).norm(dim=1) / weights.norm(dim=0)).mean(dim=1)
    assert norms[1].item() == pytest.approx(0.79, abs=0.005)
    assert norms[8].item() == pytest.approx(0.58, abs=0.005)
    noise = torch.randn(2000, 49, dtype=torch.float64, generator=generator)
    responses = torch.einsum("bn,gnw->gbw", noise, (copies[:8] @ weights[:, :200]))
    wins = responses.argmax(dim=0).flatten().bincount(minlength=8) / responses[0].numel()
    torch.testing.assert_close(wins[::2], torch.full((4,), 0.152), rtol=0, atol=0.003)
    torch.testing.assert_close(wins[1::2], torch.full((4,), 0.098), rtol=0, atol=0.003)


@pytest.mark.parametrize("rotations", [4, 8, 12])
def test_copies_a_quarter_turn_apart_have_equal_values(rotations):
    copies = filter_copies(5, rotations=rotations, scales=(1.0, 1.4)).unflatten(0, (2, rotations))
    quarter = rotations // 4
    assert torch.equal(copies.roll(-quarter, dims=1), copies.rot90(1, (2, 3)))


def test_the_first_copy_is_the_filter_itself():
    weights, square = learned()
    copy = filter_copies(5, rotations=6, scales=(1.0,))[0].double() @ torch.from_numpy(weights)
    np.testing.assert_array_equal(copy.numpy(), square)


def test_orbit_convolution_is_the_largest_response_of_all_copies():
    orbits = layer(rotations=8, scales=(1.0, 1.5), dilation=2)
    features = blobs()
    expected = torch.full((4, 3, 40, 40), -torch.inf, dtype=torch.float64)
    for copy in filter_copies(5, rotations=8, scales=(1.0, 1.5)).double():
        filters = (orbits.weight[:, :, None, None] * copy).sum(dim=-1)
        response = torch.conv2d(features, filters, padding=6, dilation=2)
        expected = torch.maximum(expected, response)
    torch.testing.assert_close(orbits(features), expected)


def test_one_copy_is_an_ordinary_convolution():
    orbits = layer(rotations=1)
    weights = orbits.weight.detach()
    square = torch.zeros(3, 1, 5, 5, dtype=torch.float64)
    disc = torch.from_numpy(learned()[1] != 0)
    square[:, :, disc] = weights
    features = blobs()
    torch.testing.assert_close(orbits(features), torch.conv2d(features, square, padding=2))


@pytest.mark.parametrize("rotations", [4, 8])
@pytest.mark.parametrize("size", [14, 15])
def test_maps_rotate_with_the_image(rotations, size):
    orbits = layer(rotations=rotations, dilation=2)
    images = torch.rand(2, 1, size, size, dtype=torch.float64)
    for degrees in (90, 180, 270):
        assert orbits.check_orbit_equivariance(images, degrees=degrees) < 1e-13
    assert layer(rotations=2).check_orbit_equivariance(images, degrees=90) > 0.1
    assert layer(rotations=2).check_orbit_equivariance(images, degrees=180) < 1e-13


def test_eight_rotations_are_nearly_equivariant_to_an_eighth_of_a_turn():
    errors = {
        rotations: layer(rotations=rotations).check_orbit_equivariance(blobs(), degrees=45)
        for rotations in (1, 4, 8)
    }
    assert errors[8] < 0.2 < errors[4] < errors[1]


def test_an_enlarged_copy_responds_to_the_enlarged_image_like_the_filter_to_the_image():
    y, x = (torch.from_numpy(axis - 2.0) for axis in np.nonzero(learned()[1]))
    ring = (1 - (x**2 + y**2) / 2) * torch.exp(-(x**2 + y**2) / 2)
    peaks = {}
    for scales in ((1.0,), (1.0, 1.5)):
        orbits = layer(channels=1, rotations=1, scales=scales)
        with torch.no_grad():
            orbits.weight[0, 0] = ring - ring.mean()
            small, large = (
                orbits(torch.exp(-squares(33) / (2 * scale**2))[None, None]).max().item()
                for scale in (1, 1.5)
            )
        peaks[scales] = large / small
    assert peaks[1.0,] < 0.8 and abs(peaks[1.0, 1.5] - 1) < 0.1


@pytest.mark.parametrize("rotations", [4, 8])
@pytest.mark.parametrize("size", [5, 12, 17])
def test_scores_are_invariant_to_quarter_turns_at_any_size(rotations, size):
    model = network(size, rotations=rotations, scales=(1.0, 1.3))
    images = torch.rand(3, 1, size, size, dtype=torch.float64)
    for degrees in (90, 180, 270):
        assert model.check_orbit_invariance(images, degrees=degrees) < 1e-12


def test_scores_are_invariant_to_whole_shifts_away_from_the_border():
    model = network(60)
    images = torch.rand(3, 1, 60, 60, dtype=torch.float64) * (squares(60) < 12**2)
    assert model.check_orbit_invariance(images, shift=(4, -4)) < 1e-12  # now 14 pixels away
    assert model.check_orbit_invariance(images, shift=(-1, 2)) < 1e-12
    assert model.check_orbit_invariance(images, shift=(25, 0)) > 1e-3  # over the border


def test_check_does_not_change_the_model():
    model, images = network().train(), blobs()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    assert model.check_orbit_invariance(images, degrees=90) < 1e-12
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_eight_rotations_are_closer_to_invariance_than_a_cnn():
    errors = {
        rotations: np.mean(
            [
                network(rotations=rotations, seed=seed).check_orbit_invariance(blobs(), degrees=45)
                for seed in range(3)
            ]
        )
        for rotations in (1, 8)
    }
    assert errors[8] < 0.7 * errors[1]


def test_scores_distinguish_images():
    scores = network()(blobs()).scores
    assert (scores[0] - scores[1]).abs().max() > 1e-2


def test_number_of_parameters_does_not_depend_on_the_number_of_copies():
    numbers = set()
    for more in ({"rotations": 1}, {"rotations": 8}, {"scales": (1.0, 2.0)}):
        model = CNNOrbitPool(image_shape=(1, 28, 28), num_classes=10, **more)
        numbers.add(sum(parameter.numel() for parameter in model.parameters()))
    # 21 weights on the disc of a 5 x 5 filter; batch norm; classes.
    expected = 21 * (20 + 20 * 20 + 20 * 40) + 2 * (20 + 20 + 40) + 41 * 10
    assert numbers == {expected} == {26_190}


def test_images_are_transformed_by_the_frameworks_warp():
    images = blobs()
    assert torch.equal(transform_images(images, degrees=90), images.rot90(1, (2, 3)))
    assert torch.equal(transform_images(images, shift=(2, 0))[..., 2:], images[..., :-2])


@pytest.mark.parametrize("scales", [(), (0.5, 1.0)])
def test_invalid_scales_are_refused(scales):
    with pytest.raises(UserError, match="scales"):
        resolve(
            CNNOrbitPool,
            {"scales": scales},
            what="model 'cnn-orbit-pool'",
            supplied=("image_shape", "num_classes"),
        )
