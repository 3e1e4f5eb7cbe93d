"""EM routing against loops written from the article's equations 20-29 and the authors' code."""

import pytest
import torch
from torch import Tensor

from capsbench.capsules.coordinates import PixelCoordinates, coordinates
from capsbench.capsules.em_variants import (
    AUTHORS_CODE_CLASSES,
    PAPER,
    raised_over_training,
    raised_per_iteration,
)
from tests.capsules.em_reference import (
    DOUBLE,
    GEOMETRIES,
    PRINTED,
    Layer,
    every_variant,
    for_variant,
    gradients,
    layer,
    naive,
)


def assert_agrees(tensors, *, tolerance=1e-8, **arguments):
    tensors = tensors.map(Tensor.requires_grad_)
    result, expected = tensors.route(**arguments), tensors.route(naive, **arguments)
    torch.testing.assert_close(result.logits.sigmoid(), result.presences)
    for actual, reference in zip(result[:3], expected, strict=True):
        torch.testing.assert_close(actual, reference, rtol=tolerance, atol=tolerance)
    for actual, reference in zip(
        gradients(result, tensors), gradients(expected, tensors), strict=True
    ):
        scale = reference.abs().max().item()
        assert scale > 1e-6
        torch.testing.assert_close(actual, reference, rtol=0, atol=10 * tolerance * scale)


@every_variant
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_values_and_gradients_match_the_equations(variant, geometry):
    shape, stride = GEOMETRIES[geometry]
    tensors = for_variant(layer(**shape, batch=1), variant)
    assert_agrees(tensors, iterations=3, stride=stride, variant=variant)


@every_variant
@pytest.mark.parametrize("iterations", [1, 2])
def test_values_and_gradients_of_few_iterations_and_two_images(variant, iterations):
    assert_agrees(for_variant(layer(), variant), iterations=iterations, variant=variant)


@pytest.mark.parametrize("geometry", ["3x3, stride 2, last row uncovered", "whole map"])
def test_equation_26_as_printed_uses_absolute_mass(geometry):
    """With a small λ, since presences saturate otherwise."""
    shape, stride = GEOMETRIES[geometry]
    arguments = {"stride": stride, "inverse_temperature": 0.05, "variant": PRINTED}
    assert_agrees(layer(**shape, batch=1), **arguments)


@every_variant
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_values_and_gradients_with_large_weights(variant, scale):
    tensors = for_variant(layer(scale=scale, batch=1), variant)
    assert_agrees(tensors, iterations=3, variant=variant, tolerance=1e-6)


@pytest.mark.parametrize(
    ("variant", "offsets"),
    [
        (PAPER, coordinates),
        (AUTHORS_CODE_CLASSES, PixelCoordinates(image_size=(32, 30), stride=4, offset=8)),
    ],
    ids=["text", "code"],
)
def test_class_layer_shares_weights_and_adds_coordinates(variant, offsets):
    tensors = for_variant(layer(size=(2, 3), kernel=(1, 1), out_types=4, batch=1), variant)
    tensors = tensors._replace(weights=tensors.weights.expand(2, 3, -1, -1, -1, -1).clone())
    assert_agrees(tensors, offsets=offsets(2, 3, like=tensors.weights), variant=variant)


@every_variant
def test_more_iterations_and_a_tensor_for_the_inverse_temperature(variant):
    temperature = torch.tensor(0.3, dtype=DOUBLE)
    tensors = for_variant(layer(batch=1), variant)
    arguments = {"iterations": 6, "inverse_temperature": temperature, "variant": variant}
    assert_agrees(tensors, tolerance=1e-6, **arguments)


def test_inverse_temperatures_of_text_and_code():
    assert [raised_over_training(p, start=0.5, end=2.5) for p in (0, 0.5, 1)] == [0.5, 1.5, 2.5]
    rising = [raised_per_iteration(0.01, iteration=i) for i in range(3)]
    assert rising == pytest.approx([0.0005, 0.000975, 0.00142625])


def test_gradient_equals_finite_differences():
    tensors = layer(size=(2, 1), kernel=(1, 1), in_types=1, out_types=2, batch=1)
    tensors = tensors.map(Tensor.requires_grad_)
    assert torch.autograd.gradcheck(lambda *x: tuple(Layer(*x).route()), tuple(tensors))


def test_forward_derivative_matches_the_gradient():
    tensors = layer()
    tangent = torch.randn_like(tensors.poses)

    def presences(poses):
        return tensors._replace(poses=poses).route().presences.sum()

    derivative = torch.func.jvp(presences, (tensors.poses,), (tangent,))[1]
    gradient = torch.func.grad(presences)(tensors.poses)
    torch.testing.assert_close(derivative, (gradient * tangent).sum())
