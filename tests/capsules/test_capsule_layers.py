"""Presences are probabilities; layers pass their arguments and parameters to the routing."""

import pytest
import torch

from capsbench.capsules.capsule import Capsules, length
from capsbench.capsules.coordinates import coordinates
from capsbench.capsules.dynamic_routing import DynamicRouting, dynamic_routing
from capsbench.capsules.em_layers import ClassEMCapsules, ConvEMCapsules
from capsbench.capsules.em_routing import em_routing
from capsbench.capsules.primary import MatrixPrimaryCapsules, VectorPrimaryCapsules


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e6])
def test_presences_of_primary_capsules_are_probabilities(scale):
    torch.manual_seed(0)
    features = scale * torch.randn(2, 5, 7, 9)
    vector = VectorPrimaryCapsules(5, types=3, dim=4, kernel=3, stride=2)(features)
    matrix = MatrixPrimaryCapsules(5, types=3)(features)
    for capsules in (vector, matrix):
        assert capsules.presences.shape == capsules.poses.shape[:4]
        assert (capsules.presences >= 0).all()
        assert (capsules.presences <= 1).all()


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("bias", [False, True])
def test_dynamic_layer_applies_the_routing_with_its_parameters(iterations, bias):
    torch.manual_seed(0)
    layer = DynamicRouting(
        num_children=6, child_dim=4, num_parents=3, parent_dim=5, iterations=iterations, bias=bias
    )
    assert (layer.bias is not None) is bias
    children = 3 * torch.randn(2, 6, 4)
    poses, presences = layer(children)
    expected = dynamic_routing(children, layer.weights, iterations=iterations, bias=layer.bias)
    assert torch.equal(poses, expected.parents)
    assert torch.equal(presences, length(expected.parents))
    other = dynamic_routing(children, layer.weights, iterations=iterations + 1, bias=layer.bias)
    assert not torch.allclose(poses, other.parents)


def matrix_capsules(height=5, width=6, types=2):
    generator = torch.Generator().manual_seed(0)
    poses = torch.randn(2, height, width, types, 4, 4, generator=generator)
    return Capsules(poses, torch.rand(2, height, width, types, generator=generator))


def randomise_betas(layer):
    """Randomise the betas, as after some training."""
    with torch.no_grad():
        layer.beta_u.normal_()
        layer.beta_a.normal_()
    return layer


@pytest.mark.parametrize("iterations", [1, 2])
def test_convolutional_em_layer_applies_the_routing_with_its_parameters(iterations):
    torch.manual_seed(0)
    layer = randomise_betas(ConvEMCapsules(2, 3, kernel=3, stride=2, iterations=iterations))
    children = matrix_capsules()
    poses, presences = layer(children, 0.2)
    assert poses.shape == (2, 2, 2, 3, 4, 4)
    assert presences.shape == (2, 2, 2, 3)
    expected = em_routing(
        children.poses,
        children.presences,
        layer.weights,
        beta_u=layer.beta_u,
        beta_a=layer.beta_a,
        inverse_temperature=0.2,
        iterations=iterations,
        stride=2,
    )
    torch.testing.assert_close(poses, expected.poses)
    torch.testing.assert_close(presences, expected.presences)


@pytest.mark.parametrize("with_coordinates", [False, True])
def test_class_em_layer_routes_over_the_whole_map(with_coordinates):
    torch.manual_seed(0)
    layer = randomise_betas(
        ClassEMCapsules(2, 4, iterations=2, coordinates=coordinates if with_coordinates else None)
    )
    children = matrix_capsules()
    poses, presences, logits = layer(children, 0.2)
    assert poses.shape == (2, 4, 4, 4)
    assert presences.shape == (2, 4)
    expected = em_routing(
        children.poses,
        children.presences,
        layer.weights.expand(5, 6, -1, -1, -1, -1),
        beta_u=layer.beta_u,
        beta_a=layer.beta_a,
        inverse_temperature=0.2,
        iterations=2,
        offsets=coordinates(5, 6, like=torch.zeros(1)) if with_coordinates else None,
    )
    torch.testing.assert_close(poses, expected.poses[:, 0, 0])
    torch.testing.assert_close(presences, expected.presences[:, 0, 0])
    torch.testing.assert_close(logits, expected.logits[:, 0, 0])
