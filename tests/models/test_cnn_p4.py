import math

import pytest
import torch

from capsbench.models._group_convolution import (
    LiftingConvolution,
    OrientationPooling,
    P4BatchNorm,
    P4Convolution,
    mirror_p4m,
    rotate_p4,
)
from capsbench.models.cnn_p4 import CNNP4, CNNP4M

PLANE = (2, 3)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, dtype=torch.float64, generator=generator)


def some_training(model, images):
    """Randomise batch norm parameters and statistics, as after some training."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, P4BatchNorm):
            with torch.no_grad():
                for parameter in (module.weight, module.bias):
                    noise = torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
                    parameter.add_(0.3 * noise)
    for _ in range(3):
        model(images)
    return model.eval()


def network(size=16, channels=1, cls=CNNP4, **more):
    torch.manual_seed(0)
    model = cls(image_shape=(channels, size, size), num_classes=5, width=2, **more).double()
    return some_training(model, draw(8, channels, size, size))


def turn_back(offset, quarters):
    """Rotate a pixel (row, column) about the centre clockwise; rows go down."""
    row, column = offset
    for _ in range(quarters):
        row, column = column, -row
    return row, column


def naive(features, weight, orientations):
    """Compute the correlation on p4 in loops (Cohen and Welling 2016, section 6.1).

    Args:
        features: (orientations * D, H, W).
        weight: (D', orientations * D, N, N).
        orientations: 1 for an image, 4 for a p4 map.
    """
    out_channels, in_channels, kernel, _ = weight.shape
    height, width = features.shape[1:]
    half = kernel // 2
    result = torch.zeros(out_channels, 4, height, width, dtype=torch.float64)
    offsets = [(u, v) for u in range(-half, half + 1) for v in range(-half, half + 1)]
    for r in range(4):
        for u, v in offsets:
            from_row, from_column = turn_back((u, v), r)
            for channel in range(in_channels):
                feature, s = divmod(channel, orientations)
                source = feature * orientations + (s - r) % orientations
                factor = weight[:, source, half + from_row, half + from_column]
                for y in range(max(0, -u), min(height, height - u)):
                    for x in range(max(0, -v), min(width, width - v)):
                        result[:, r, y, x] += factor * features[channel, y + u, x + v]
    return result.flatten(0, 1)


def test_lifting_equals_the_sum_over_the_group():
    layer = LiftingConvolution(2, 3, kernel=3).double()
    images = draw(2, 2, 3, 4)
    torch.testing.assert_close(layer(images)[1], naive(images[1], layer.weight.detach(), 1))


@pytest.mark.parametrize("kernel", [1, 3])
def test_p4_convolution_equals_the_sum_over_the_group(kernel):
    layer = P4Convolution(2, 3, kernel=kernel).double()
    features = draw(2, 8, 3, 4)
    torch.testing.assert_close(layer(features)[1], naive(features[1], layer.weight.detach(), 4))


@pytest.mark.parametrize("size", [6, 7])
def test_layers_rotate_with_the_image(size):
    lifting = LiftingConvolution(2, 3, kernel=5).double()
    assert lifting.check_equivariance(draw(2, 2, size, size)) < 1e-13
    layer = P4Convolution(3, 2, kernel=3).double()
    assert layer.check_equivariance(draw(2, 12, size, size)) < 1e-13


def test_filters_without_permuted_orientations_are_not_equivariant():
    class WithoutPermutation(P4Convolution):
        def forward(self, features):
            filters = torch.stack([self.weight.rot90(r, (2, 3)) for r in range(4)], dim=1)
            return torch.conv2d(features, filters.flatten(0, 1), padding=1)

    assert WithoutPermutation(3, 2, kernel=3).double().check_equivariance(draw(2, 12, 6, 6)) > 0.1


def test_rotations_form_the_cyclic_group():
    features = draw(2, 8, 4, 6)
    assert torch.equal(rotate_p4(features, 4), features)
    assert torch.equal(rotate_p4(rotate_p4(features, 1), 2), rotate_p4(features, 3))
    once = rotate_p4(features, 1)
    assert torch.equal(once[:, 4 + 1], features[:, 4 + 0].rot90(1, (1, 2)))


def test_batch_norm_is_shared_by_orientations():
    norm = P4BatchNorm(2).double()
    scale = torch.tensor([1.0, 2.0, 3.0, 4.0, 4.0, 3.0, 2.0, 1.0]).double()[:, None, None]
    features = scale * draw(3, 8, 4, 4)
    for module in (norm.train(), norm.eval()):
        torch.testing.assert_close(module(rotate_p4(features, 1)), rotate_p4(module(features), 1))
    by_feature = norm.train()(features).unflatten(1, (2, 4)).transpose(0, 1).flatten(1)
    torch.testing.assert_close(by_feature.mean(dim=1), torch.zeros(2).double())
    torch.testing.assert_close(
        by_feature.var(dim=1, correction=0), torch.ones(2).double(), rtol=1e-3, atol=0
    )


def test_orientation_pooling_takes_the_largest_of_four():
    features = draw(2, 8, 3, 3)
    pooled = OrientationPooling()(features)
    assert pooled.shape == (2, 2, 3, 3)
    assert torch.equal(pooled[:, 1], features[:, 4:].max(dim=1).values)
    assert torch.equal(OrientationPooling()(rotate_p4(features, 1)), pooled.rot90(1, PLANE))


@pytest.mark.parametrize("size", [7, 8, 9, 10, 13, 14, 28])
def test_scores_are_invariant_to_quarter_turns_at_any_size(size):
    assert network(size).check_turn_invariance(draw(3, 1, size, size, seed=1)) < 1e-12


def test_check_does_not_change_the_model():
    model, images = network().train(), draw(3, 1, 16, 16)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    assert model.check_turn_invariance(images) < 1e-12
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_checks_with_a_nan_are_nan():
    images = draw(1, 1, 16, 16)
    images[0, 0, 0, 0] = math.nan
    assert math.isnan(network().check_turn_invariance(images))
    layer = LiftingConvolution(1, 2, kernel=3).double()
    assert math.isnan(layer.check_equivariance(images))
    p4 = P4Convolution(1, 2, kernel=3).double()
    assert math.isnan(p4.check_equivariance(images.expand(1, 4, 16, 16)))


@pytest.mark.parametrize("size", [15, 16])
def test_maps_rotate_with_the_image(size):
    model, images = network(size, channels=2), draw(2, 2, size, size)
    block = model.block3(model.block2(model.block1(images)))
    rotated_images = images.rot90(1, PLANE)
    of_rotated = model.block3(model.block2(model.block1(rotated_images)))
    torch.testing.assert_close(of_rotated, rotate_p4(block, 1))
    assert not torch.allclose(of_rotated, block.rot90(1, PLANE))
    torch.testing.assert_close(
        model.orientations(of_rotated), model.orientations(block).rot90(1, PLANE)
    )


def test_scores_distinguish_images_and_depend_on_reflections():
    model, images = network(16), draw(3, 1, 16, 16)
    scores = model(images).scores
    assert (scores[0] - scores[1]).abs().max() > 1e-3
    mirrored = model(images.flip(3)).scores
    assert (mirrored - scores).abs().max() > 1e-3


@pytest.mark.parametrize("size", [7, 14, 15, 28, 29])
def test_maps_are_centred_on_the_image(size):
    model = network(size)
    features = draw(1, 1, size, size)
    for count, (name, layer) in enumerate(model.layers_of_interest().items(), start=1):
        if layer.kind != "map" or count > 3:
            continue
        features = model.get_submodule(layer.module)(features)
        last = layer.offset + layer.stride * (features.shape[-1] - 1)
        assert layer.offset + last == size - 1, name


def test_any_shape_from_the_smallest_on_fits():
    for height in range(7, 13):
        for width in range(7, 13):
            model = CNNP4(image_shape=(1, height, width), num_classes=3, width=1).eval()
            assert model(torch.rand(1, 1, height, width)).scores.shape == (1, 3)


def test_number_of_parameters():
    model = CNNP4(image_shape=(1, 28, 28), num_classes=10)
    # 3 x 3 filters: of the image, then of four orientations; batch norm; classes.
    filters = 8 + 4 * (8 * 8 + 8 * 16 + 16 * 16 + 16 * 32 + 32 * 32)
    expected = 9 * filters + 2 * 2 * (8 + 16 + 32) + 33 * 10
    assert sum(parameter.numel() for parameter in model.parameters()) == expected == 72_050


def acts(turns, mirrored, pixel):
    """Apply an element of p4m, r^turns m^mirrored, to a pixel (row, column) about the centre."""
    row, column = pixel
    if mirrored:
        column = -column
    for _ in range(turns):
        row, column = -column, row  # counter-clockwise; rows go down
    return row, column


def product(one, other):
    """Multiply elements (turns, mirrored) of p4m: m r = r⁻¹ m."""
    turns = one[0] + (-other[0] if one[1] else other[0])
    return turns % 4, (one[1] + other[1]) % 2


GROUP = [(turns, mirrored) for mirrored in (0, 1) for turns in range(4)]


def naive_p4m(features, weight):
    """Compute the correlation on p4m in loops: the sum over pixels v and elements h of the group.

    Output g at x is the sum of f(x + g v, g h) times the filter at (v, h).
    """
    out_channels, in_channels, kernel, _ = weight.shape
    height, width = features.shape[1:]
    half = kernel // 2
    result = torch.zeros(out_channels, 8, height, width, dtype=torch.float64)
    offsets = [(u, v) for u in range(-half, half + 1) for v in range(-half, half + 1)]
    for g, element in enumerate(GROUP):
        for u, v in offsets:
            down, right = acts(*element, (u, v))
            for channel in range(in_channels):
                feature, h = divmod(channel, 8)
                source = feature * 8 + GROUP.index(product(element, GROUP[h]))
                factor = weight[:, channel, half + u, half + v]
                for y in range(max(0, -down), min(height, height - down)):
                    for x in range(max(0, -right), min(width, width - right)):
                        result[:, g, y, x] += factor * features[source, y + down, x + right]
    return result.flatten(0, 1)


def test_p4m_convolution_equals_the_sum_over_the_group():
    layer = P4Convolution(2, 3, kernel=3, reflections=True).double()
    features = draw(1, 16, 3, 4)
    torch.testing.assert_close(layer(features)[0], naive_p4m(features[0], layer.weight.detach()))


@pytest.mark.parametrize("size", [6, 7])
def test_p4m_layers_move_with_the_image(size):
    images, features = draw(2, 2, size, size), draw(2, 24, size, size)
    lifting = LiftingConvolution(2, 3, kernel=5, reflections=True).double()
    layer = P4Convolution(3, 2, kernel=3, reflections=True).double()
    assert lifting.check_equivariance(images) < 1e-13
    assert layer.check_equivariance(features) < 1e-13
    torch.testing.assert_close(lifting(images.flip(3)), mirror_p4m(lifting(images)))
    torch.testing.assert_close(layer(mirror_p4m(features)), mirror_p4m(layer(features)))


def test_two_reflections_are_the_identity():
    features = draw(2, 16, 4, 6)
    assert torch.equal(mirror_p4m(mirror_p4m(features)), features)
    turned = rotate_p4(mirror_p4m(features), 1)
    assert torch.equal(turned, mirror_p4m(rotate_p4(features, 3)))


@pytest.mark.parametrize("size", [7, 14, 28])
def test_p4m_scores_are_invariant_to_turns_and_reflections(size):
    model, images = network(size, cls=CNNP4M), draw(3, 1, size, size, seed=1)
    assert model.check_turn_invariance(images) < 1e-12
    assert model.check_reflection_invariance(images) < 1e-12
    scores = model(images).scores
    assert (scores[0] - scores[1]).abs().max() > 1e-3


def test_p4_is_not_invariant_to_reflections():
    assert CNNP4M.check_reflection_invariance(network(16), draw(3, 1, 16, 16)) > 1e-3
