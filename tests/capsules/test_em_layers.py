import pytest
import torch

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.coordinates import coordinates
from capsbench.capsules.em_layers import ClassEMCapsules, ConvEMCapsules


def children(batch=2, height=5, width=5, types=3):
    generator = torch.Generator().manual_seed(0)
    poses = torch.randn(batch, height, width, types, 4, 4, generator=generator)
    return Capsules(poses, torch.rand(batch, height, width, types, generator=generator))


def test_convolutional_layer_keeps_the_map():
    layer = ConvEMCapsules(3, 4, kernel=3, stride=2)
    poses, presences = layer(children(), 0.5)
    assert poses.shape == (2, 2, 2, 4, 4, 4)
    assert presences.shape == (2, 2, 2, 4)
    assert sum(p.numel() for p in layer.parameters()) == 9 * 3 * 4 * 16 + 2 * 4


def test_class_layer_shares_its_weights_across_the_map():
    layer = ClassEMCapsules(3, 7)
    poses, presences = layer(children(height=4, width=6), torch.tensor(0.5))
    assert poses.shape == (2, 7, 4, 4)
    assert presences.shape == (2, 7)
    assert sum(p.numel() for p in layer.parameters()) == 3 * 7 * 16 + 2 * 7


@pytest.mark.parametrize("told", [False, True])
def test_class_layer_knows_places_by_coordinate_addition_alone(told):
    torch.manual_seed(0)
    layer = ClassEMCapsules(3, 7, coordinate_addition=told)
    plain = children()
    mirrored = Capsules(*(x.flip(2) for x in plain))
    same = torch.allclose(layer(plain, 0.5).presences, layer(mirrored, 0.5).presences, atol=1e-6)
    assert same is not told


def test_coordinates_stand_in_the_first_two_rows_of_the_last_column():
    offsets = coordinates(2, 4, like=torch.zeros(1))
    assert offsets.shape == (2, 4, 4, 4)
    assert offsets[1, 2, :, 3].tolist() == [0.75, 0.625, 0.0, 0.0]
    assert (offsets[..., :3] == 0).all()


@pytest.mark.parametrize("layer", [ConvEMCapsules(3, 4, kernel=3, stride=1), ClassEMCapsules(3, 4)])
def test_every_parameter_learns(layer):
    poses, presences = layer(children(), 0.5)
    (poses.square().sum() + presences.square().sum()).backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in layer.parameters())
