import math

import pytest
import torch
from torch import nn

from capsbench.capsules.capsule import Capsules, length
from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.capsules.em_layers import ClassEMCapsules, ConvEMCapsules
from capsbench.capsules.inspection import (
    OFFSETS,
    RoutingInspection,
    inspect_routing,
    inspect_routings,
    sweep_pose,
)
from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.reconstruction import ClassConditionalDecoder
from capsbench.errors import UserError

# Sweeps


def test_offsets_are_those_of_the_paper():
    assert len(OFFSETS) == 11
    assert (OFFSETS[0], OFFSETS[5], OFFSETS[10]) == (-0.25, 0, 0.25)
    assert OFFSETS[6] == pytest.approx(0.05)


@pytest.mark.parametrize("pose_shape", [(6,), (4, 4)])
def test_sweep_changes_one_number_of_one_capsule_at_a_time(pose_shape):
    torch.manual_seed(0)
    dim = math.prod(pose_shape)
    decoder = ClassConditionalDecoder(
        num_classes=3, pose_dim=dim, image_shape=(2, 3, 4), hidden=(9,)
    ).double()
    poses, classes = torch.randn(2, 3, *pose_shape).double(), torch.tensor([2, 0])
    offsets = (-1.0, 0.0, 0.5)
    result = sweep_pose(decoder, poses, classes, offsets=offsets)
    assert result.shape == (2, dim, 3, 2, 3, 4)
    assert not result.requires_grad
    for image, label in enumerate(classes):
        selected = nn.functional.one_hot(label, 3)[None].double()
        for number in range(dim):
            for step, offset in enumerate(offsets):
                changed = poses[image : image + 1].clone()
                changed[0, label].view(-1)[number] += offset
                expected = decoder(changed, selected)[0]
                torch.testing.assert_close(result[image, number, step], expected)


def test_sweep_does_not_change_other_capsules_or_its_input():
    """Use a decoder that, unlike ours, depends on all capsules."""
    calls = []

    def decoder(poses, classes):
        calls.append((poses, classes))
        return poses[:, None]

    poses = torch.randn(2, 4, 5)
    original = poses.clone()
    result = sweep_pose(decoder, poses, torch.tensor([3, 1]))
    assert result.shape == (2, 5, 11, 1, 4, 5)
    assert len(calls) == 1
    assert torch.equal(poses, original)
    changed = (result - poses[:, None, None, None]).abs().amax(dim=(1, 2, 3, 5)) > 0.2
    assert changed.nonzero().tolist() == [[0, 3], [1, 1]]
    assert torch.equal(calls[0][1].unflatten(0, (2, -1))[:, 7], torch.eye(4)[[3, 1]])


# Inspection of layers


@pytest.fixture
def dynamic():
    torch.manual_seed(0)
    layer = DynamicRouting(num_children=12, num_parents=5, child_dim=3, parent_dim=4).double()
    return layer, torch.randn(2, 12, 3).double()


@pytest.fixture
def capsules():
    torch.manual_seed(0)
    # With stride 2 no 3 x 3 window covers the last column of a map of width 6.
    poses, presences = torch.randn(2, 7, 6, 3, 4, 4), torch.rand(2, 7, 6, 3)
    return Capsules(poses.double(), presences.double())


def test_dynamic_routing_is_inspected_by_its_couplings(dynamic):
    layer, children = dynamic
    result = inspect_routing(layer, children)
    couplings = layer.route(children).couplings
    assert torch.equal(result.shares, couplings)
    assert (result.num_parents == 5).all()
    torch.testing.assert_close(result.presences, length(children))
    for image in range(2):
        for child in range(12):
            naive = -sum(c.item() * math.log(c.item()) for c in couplings[image, child])
            assert result.entropy[image, child].item() == pytest.approx(naive, rel=1e-9)


def test_em_routing_is_inspected_by_its_assignments_over_all_windows_of_a_child(capsules):
    layer = ConvEMCapsules(3, 4, kernel=3, stride=2).double()
    assignments = layer.route(capsules, 1.0).assignments
    result = inspect_routing(layer, capsules, 1.0)
    assert result.shares.shape == (2, 7, 6, 3, 4)
    assert torch.equal(result.presences, capsules.presences)
    for y, x, kind in ((0, 0, 0), (2, 2, 1), (4, 3, 2), (3, 5, 0)):
        shares, entropy, num_parents = torch.zeros(2, 4).double(), torch.zeros(2).double(), 0
        for row in range(3):
            for column in range(2):
                down, right = y - 2 * row, x - 2 * column
                if 0 <= down < 3 and 0 <= right < 3:
                    given = assignments[:, row, column, :, down, right, kind]
                    shares += given
                    entropy -= (given * given.log()).sum(dim=1)
                    num_parents += 4
        torch.testing.assert_close(result.shares[:, y, x, kind], shares)
        torch.testing.assert_close(result.entropy[:, y, x, kind], entropy)
        assert (result.num_parents[:, y, x, kind] == num_parents).all()
    seen = result.num_parents > 0
    assert (seen == (torch.arange(6) < 5)[:, None]).all()
    torch.testing.assert_close(result.shares.sum(dim=-1), seen.double())


def test_first_iteration_is_uniform(dynamic, capsules):
    layer, children = dynamic
    layer.iterations = 1
    result = inspect_routing(layer, children)
    ones = torch.ones(2).double()
    torch.testing.assert_close(result.mean_entropy(), math.log(5) * ones)
    torch.testing.assert_close(result.relative_entropy(), ones)
    conv = ConvEMCapsules(3, 4, kernel=3, stride=2, iterations=1).double()
    torch.testing.assert_close(inspect_routing(conv, capsules, 1.0).relative_entropy(), ones)
    classes = ClassEMCapsules(3, 4, iterations=1).double()
    result = inspect_routing(classes, capsules, 1.0)
    torch.testing.assert_close(result.mean_entropy(), math.log(4) * ones)


def test_mean_entropy_is_weighted_by_presence_and_counts_children_with_a_choice():
    entropy = torch.tensor([[0.0, math.log(2), math.log(3), 0.0, 0.0]])
    num_parents = torch.tensor([[4.0, 4.0, 9.0, 1.0, 0.0]])
    presences = torch.tensor([[0.5, 1.0, 0.5, 0.25, 7.0]])
    result = RoutingInspection(torch.zeros(1, 5, 1), entropy, num_parents, presences)
    seen = 0.5 + 1.0 + 0.5 + 0.25
    expected = (math.log(2) + 0.5 * math.log(3)) / seen
    assert result.mean_entropy().item() == pytest.approx(expected)
    assert result.relative_entropy().item() == pytest.approx((0.5 + 0.5 * 0.5) / 2.0)


def test_entropy_of_a_decided_child_is_zero_and_finite():
    children = torch.ones(1, 2, 3)
    layer = DynamicRouting(num_children=2, num_parents=2, child_dim=3, parent_dim=3, iterations=2)
    weights = torch.stack([1e4 * torch.eye(3), torch.zeros(3, 3)]).expand(2, 2, 3, 3)
    layer.weights = nn.Parameter(weights)
    result = inspect_routing(layer, children)
    assert torch.equal(result.shares[0, 0], torch.tensor([1.0, 0.0]))
    assert result.mean_entropy().item() == result.relative_entropy().item() == 0


def test_maps_are_sums_of_the_shares_of_each_type(dynamic, capsules):
    layer, children = dynamic
    result = inspect_routing(layer, children).on_map(2, 3)
    assert result.shares.shape == (2, 2, 3, 2, 5)
    maps = result.maps()
    assert maps.shape == (2, 2, 3, 5)
    lengths, couplings = length(children), layer.route(children).couplings
    for child_type in range(2):  # child 2 (row 0, column 1) comes after those of column 0
        torch.testing.assert_close(result.shares[:, 0, 1, child_type], couplings[:, 2 + child_type])
    by_hand = sum(lengths[:, n, None] * couplings[:, n] for n in (8, 9))
    torch.testing.assert_close(maps[:, 1, 1], by_hand)
    torch.testing.assert_close(maps.sum(dim=-1), lengths.view(2, 2, 3, 2).sum(dim=-1))

    classes = ClassEMCapsules(3, 4).double()
    maps = inspect_routing(classes, capsules, 1.0).maps()
    assert maps.shape == (2, 7, 6, 4)
    torch.testing.assert_close(maps.sum(dim=-1), capsules.presences.sum(dim=-1))


# Inspection of models


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.lower = ConvEMCapsules(2, 3, kernel=2, stride=1)
        self.upper = nn.ModuleDict({"classes": ClassEMCapsules(3, 4)})

    def forward(self, images):
        capsules = Capsules(images[..., None, None] * torch.eye(4), images.sigmoid())
        return self.upper["classes"](self.lower(capsules, 0.5), inverse_temperature=2.0)


def test_every_routing_layer_of_a_model_is_inspected_with_its_inputs():
    torch.manual_seed(0)
    model, images = Network(), torch.randn(2, 5, 4, 2)
    classes = model.upper["classes"]
    assert isinstance(classes, ClassEMCapsules)
    result = inspect_routings(model, images)
    assert list(result) == ["lower", "upper.classes"]
    capsules = Capsules(images[..., None, None] * torch.eye(4), images.sigmoid())
    for name, layer, inv_temperature in (
        ("lower", model.lower, 0.5),
        ("upper.classes", classes, 2.0),
    ):
        expected = inspect_routing(layer, capsules, inv_temperature)
        for part, reference in zip(result[name], expected, strict=True):
            torch.testing.assert_close(part, reference)
            assert not part.requires_grad
        capsules = layer(capsules, inv_temperature)
    assert not any(module._forward_hooks for module in model.modules())
    assert inspect_routings(nn.Linear(2, 3), torch.ones(1, 2)) == {}


class Other(RoutingLayer):
    def forward(self, children):
        return children

    def route(self, children):
        return children

    def vote_shape(self, children):
        return tuple(children.shape)

    def check_couplings(self, children):
        return 0.0


def test_a_custom_routing_must_be_registered():
    with pytest.raises(UserError, match="Other"):
        inspect_routings(nn.Sequential(Other()), torch.ones(1, 2))

    class Registered(Other):
        pass

    @inspect_routing.register
    def _(layer: Registered, children: torch.Tensor) -> RoutingInspection:
        return RoutingInspection(children, children, children, children)

    assert list(inspect_routings(nn.Sequential(Registered()), torch.ones(1, 2))) == ["0"]
