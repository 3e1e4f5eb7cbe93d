"""Layers of every routing on the same votes: shapes, checks, and what they have in common."""

from typing import Any

import pytest
import torch

from capsbench.capsules.capsule import Capsules, squash
from capsbench.capsules.inspection import inspect_routing
from capsbench.capsules.routings import ROUTINGS, AverageCapsules, DynamicCapsules, EMCapsules
from capsbench.measures._vote_spreads import weighted_votes

POSES = ("vector", "matrix")


def children(pose, *, size=(5, 6), types=4, batch=3):
    generator = torch.Generator().manual_seed(0)
    poses = torch.randn(batch, *size, types, 16, generator=generator)
    presences = torch.rand(batch, *size, types, generator=generator)
    return Capsules(poses if pose == "vector" else poses.unflatten(-1, (4, 4)), presences)


def build(name, pose, **arguments):
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "in_types": 4,
        "out_types": 6,
        "kernel": (3, 2),
        "stride": 2,
        "iterations": 3,
    }
    return ROUTINGS[name](pose=pose, **sizes | arguments).eval()


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("name", ROUTINGS)
def test_parents_have_the_form_of_children(name, pose):
    layer, capsules = build(name, pose), children(pose)
    poses, presences, logits, couplings = layer(capsules)
    assert poses.shape == (3, 2, 3, 6, *capsules.poses.shape[4:])
    assert presences.shape == logits.shape == (3, 2, 3, 6)
    assert couplings.shape == (3, 2, 3, 6, 3, 2, 4)
    assert ((presences >= 0) & (presences <= 1)).all()
    assert layer.votes(capsules).shape == layer.vote_shape(capsules) == (3, 2, 3, 6, 24, 16)
    assert layer.check_couplings(capsules) < 1e-5


@pytest.mark.parametrize("name", ROUTINGS)
def test_a_window_of_the_whole_map_connects_everything(name):
    layer = build(name, "vector", kernel=(5, 6))
    assert layer(children("vector")).poses.shape == (3, 1, 1, 6, 16)


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("name", ROUTINGS)
def test_images_do_not_depend_on_each_other(name, pose):
    layer, capsules = build(name, pose), children(pose)
    alone = [layer(Capsules(*(x[i : i + 1] for x in capsules))) for i in range(3)]
    for part, whole in zip(zip(*alone, strict=True), layer(capsules), strict=True):
        torch.testing.assert_close(torch.cat(part), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ROUTINGS)
def test_every_parameter_has_a_gradient(name):
    layer = build(name, "vector").train()
    routed = layer(children("vector"))
    (routed.poses.sin().sum() + routed.logits.sin().sum()).backward()
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("pose", POSES)
def test_the_average_divides_each_child_equally(pose):
    layer, capsules = build("average", pose), children(pose)
    dynamic = build("dynamic", pose, iterations=1)
    assert isinstance(layer, AverageCapsules)
    torch.testing.assert_close(layer(capsules).poses, dynamic(capsules).poses)
    votes = layer.votes(capsules)  # (B, H', W', P, I, 16)
    expected = squash(votes.sum(dim=-2) / 6)
    torch.testing.assert_close(layer(capsules).poses.reshape(expected.shape), expected)


@pytest.mark.parametrize("pose", POSES)
def test_dynamic_routing_is_that_of_the_stored_votes(pose):
    layer, capsules = build("dynamic", pose), children(pose)
    assert isinstance(layer, DynamicCapsules)
    votes = layer.votes(capsules).transpose(3, 4)  # (B, H', W', I, P, 16)
    logits = torch.zeros(votes.shape[:-1])
    for _ in range(3):
        parents = squash((logits.softmax(dim=-1)[..., None] * votes).sum(dim=3))
        logits = logits + (votes * parents[:, :, :, None]).sum(dim=-1)
    routed = layer(capsules)
    torch.testing.assert_close(routed.poses.reshape(parents.shape), parents)
    lengths = torch.linalg.vector_norm(parents, dim=-1)
    torch.testing.assert_close(routed.presences, lengths)
    torch.testing.assert_close(routed.logits, lengths.log())


def test_the_inverse_temperature_rises_over_the_training():
    layer = build("em", "matrix", inverse_temperature=(0.1, 0.5))
    assert isinstance(layer, EMCapsules)
    capsules = children("matrix")
    before = layer(capsules)
    layer.advance(1.0)
    after = layer(capsules)
    assert layer.inverse_temperature.item() == pytest.approx(0.5)
    assert not torch.allclose(before.presences, after.presences)
    assert "inverse_temperature" in layer.state_dict()


@pytest.mark.parametrize("name", ROUTINGS)
def test_every_routing_can_be_inspected(name):
    layer, capsules = build(name, "vector"), children("vector")
    inspection = inspect_routing(layer, capsules)
    assert inspection.shares.shape == (3, 5, 6, 4, 6)
    covered = inspection.num_parents > 0
    total = inspection.shares.sum(dim=-1)[covered]
    windows = inspection.num_parents[covered] / 6
    expected = torch.ones_like(total) if layer.across_positions else windows
    torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-5)
    votes = weighted_votes(layer, capsules)
    assert votes is not None
    assert votes.votes.shape == (3, 2, 3, 24, 6, 16)
    assert votes.weights.shape == (3, 2, 3, 24, 6)
    least = capsules.presences.min() if layer.weighs_presences else 1
    assert votes.weights.sum(dim=-1).max() <= 1 + 1e-5
    if not layer.across_positions:
        assert votes.weights.sum(dim=-1).min() >= least - 1e-5


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("name", ROUTINGS)
def test_a_shared_transformation_is_that_of_every_child(name, pose):
    """It is the layer whose transformations are all equal, with a sum of their gradients."""
    shared, own = build(name, pose, shared=True), build(name, pose)
    others = {n: v for n, v in shared.state_dict().items() if "transformations" not in n}
    own.load_state_dict(others, strict=False)
    if name == "orthogonal":
        own.transformations = shared.weights.detach().clone()
    else:
        own.transformations.data = shared.weights.detach().clone()
    capsules = children(pose)
    one, other = shared(capsules), own(capsules)
    for part, expected in zip(one, other, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-5)
    assert shared.transformations.shape[:4] == (1, 1, 1, 6)
    if name == "orthogonal":  # its parameters are other numbers than its matrices
        return
    for layer, routed in ((shared, one), (own, other)):
        routed.poses.sin().sum().backward()
        assert layer.transformations.grad is not None
    total = own.transformations.grad.sum(dim=(0, 1, 2), keepdim=True)
    torch.testing.assert_close(shared.transformations.grad, total, rtol=1e-3, atol=1e-4)
