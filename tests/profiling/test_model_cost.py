"""Cost of models: operations, parameters and votes, checked against formulas."""

import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.capsules.em_layers import ClassEMCapsules, ConvEMCapsules, EMCapsules
from capsbench.capsules.kernels import em_eager
from capsbench.capsules.reconstruction import ClassConditionalDecoder
from capsbench.contracts import Model, Prediction
from capsbench.profiling.model_cost import count_flops, model_cost


class Small(Model):
    """Model of a sequence of layers."""

    def __init__(self, image_shape, *layers):
        super().__init__(image_shape=image_shape, num_classes=1)
        self.layers = nn.ModuleList(layers)

    def forward(self, images, views=None):
        for layer in self.layers:
            images = layer(images)
        return Prediction(images)

    def loss(self, prediction, batch, progress):
        return prediction.scores.mean()


class Children(nn.Module):
    """Turns an image (B, 1, I, D) into vector capsules (B, I, D)."""

    def forward(self, images):
        return images[:, 0]


class MatrixCapsules(nn.Module):
    """Turns an image (B, C, H, W) into a map of C types of matrix capsules."""

    def forward(self, images):
        presences = images.permute(0, 2, 3, 1) + 0.5
        return Capsules(presences[..., None, None] * torch.eye(4), presences)


class FixedTemperature(nn.Module):
    """EM routing at inverse temperature 1."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, capsules):
        return self.layer(capsules, 1.0)


def count(image_shape, *layers):
    return model_cost(Small(image_shape, *layers).eval())


def test_convolution_costs_two_per_multiply_add():
    cost = count((3, 10, 12), nn.Conv2d(3, 5, (3, 2), stride=2))
    assert cost.flops == 2 * (3 * 3 * 2) * 5 * (4 * 6)
    assert cost.parameters == 3 * 5 * 3 * 2 + 5


def test_linear_layer_costs_two_per_multiply_add():
    cost = count((2, 3, 4), nn.Flatten(), nn.ReLU(), nn.Linear(24, 7), nn.Softmax(dim=-1))
    assert cost.flops == 2 * 24 * 7


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_dynamic_routing_costs_votes_sums_and_agreements(
    iterations,
):
    layer = DynamicRouting(
        num_children=6, num_parents=5, child_dim=3, parent_dim=4, iterations=iterations
    )
    cost = count((1, 6, 3), Children(), layer)
    sums, agreements = iterations, iterations - 1
    assert cost.flops == 2 * 6 * 5 * 4 * (3 + sums + agreements)


@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.parametrize("conv", [True, False])
def test_em_routing_costs_votes_means_and_variances(iterations, conv):
    C, P, K, H, W, stride = 3, 4, 3, 9, 7, 2
    layer: EMCapsules
    if conv:
        layer = ConvEMCapsules(C, P, kernel=K, stride=stride, iterations=iterations)
        votes = 4 * 3 * P * (K * K * C)  # for each parent and each child in its receptive field
    else:
        layer = ClassEMCapsules(C, P, iterations=iterations)
        votes = P * (H * W * C)
    cost = count((C, H, W), MatrixCapsules(), FixedTemperature(layer))
    product = 2 * 4 * 4 * 4  # a vote is a pose times a transformation
    weighted = 2 * 16  # a weighted sum of votes, or of squared differences from the mean
    assert cost.flops == votes * (product + 2 * weighted * iterations)


def test_votes_are_counted_for_each_routing_layer_and_grow_with_the_batch():
    C, P, K, H, W = 3, 4, 3, 9, 7
    conv = ConvEMCapsules(C, P, kernel=K, stride=2, iterations=1)
    classes = ClassEMCapsules(P, 5, iterations=1)
    cost = count((C, H, W), MatrixCapsules(), FixedTemperature(conv), FixedTemperature(classes))
    expected = {
        "layers.1.layer": 4 * 3 * P * (K * K * C) * 16,
        "layers.2.layer": 5 * (4 * 3 * P) * 16,
    }
    assert cost.votes == expected
    assert cost.vote_bytes(7) == {name: 4 * 7 * votes for name, votes in expected.items()}

    layer = DynamicRouting(num_children=6, num_parents=5, child_dim=3, parent_dim=4)
    assert count((1, 6, 3), Children(), layer).votes == {"layers.1": 6 * 5 * 4}
    assert count((1, 6, 3), nn.Conv2d(1, 2, 3)).votes == {}


@pytest.mark.parametrize("backend", ["eager", "textbook"])
def test_only_the_textbook_backend_stores_votes(backend, monkeypatch):
    """``capsbench show`` states this with the size of the votes."""
    monkeypatch.setattr(em_eager, "SLICE", 2**14)
    torch.manual_seed(0)
    dynamic = DynamicRouting(num_children=20, num_parents=10, child_dim=2, parent_dim=16)
    em = ClassEMCapsules(3, 8, iterations=2)
    dynamic.backend = em.backend = backend
    children = torch.randn(64, 20, 2)
    capsules = Capsules(torch.randn(4, 5, 5, 3, 4, 4), torch.rand(4, 5, 5, 3))
    for layer, inputs in ((dynamic, (children,)), (em, (capsules, 1.0))):
        stored = largest_tensor(layer, *inputs) >= math.prod(layer.vote_shape(*inputs))
        assert stored is (backend == "textbook")


def largest_tensor(layer, *inputs):
    """Return the number of elements of the largest tensor that a layer computes."""

    class Watch(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.largest = max(self.largest, result.untyped_storage().nbytes() // 4)
            return result

    with torch.no_grad(), Watch() as watch:
        layer(*inputs)
    return watch.largest


def test_layers_are_the_modules_with_their_submodules():
    block = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    cost = count((1, 6, 5), block, nn.Flatten(), nn.Linear(24, 3))
    rows = {layer.name: layer for layer in cost.layers}
    inside = ["layers", "layers.0", "layers.0.0", "layers.0.1", "layers.1", "layers.2"]
    assert list(rows) == ["", *inside]
    assert rows["layers.0"].outputs == [(2, 4, 3)]
    assert rows["layers.0"].type == "Sequential"
    assert rows["layers.0"].parameters == rows["layers.0.0"].parameters == 2 * 9 + 2
    assert rows["layers.0"].flops == rows["layers.0.0"].flops == 2 * 9 * 2 * 12
    assert rows["layers.0.1"].parameters == rows["layers.0.1"].flops == 0
    assert rows["layers"].outputs == []  # a list of modules is never called
    assert (rows[""].type, rows[""].outputs) == ("Small", [(3,)])
    assert cost.flops == rows[""].flops == 2 * 9 * 2 * 12 + 2 * 24 * 3
    assert cost.parameters == 20 + 24 * 3 + 3


def test_capsules_have_the_shapes_of_poses_and_presences():
    cost = count((3, 5, 4), MatrixCapsules())
    assert cost.layers[-1].outputs == [(5, 4, 3, 4, 4), (5, 4, 3)]


def test_shared_parameters_count_once():
    linear = nn.Linear(4, 4)
    cost = count((1, 1, 4), linear, nn.ReLU(), linear)
    assert (cost.parameters, cost.flops) == (20, 2 * 2 * 16)


def test_decoder_parameters_are_counted_separately():
    decoder = ClassConditionalDecoder(num_classes=2, pose_dim=3, image_shape=(1, 2, 2), hidden=(5,))

    class Draw(Small):
        def forward(self, images, views=None):
            poses = self.layers[0](images).view(-1, 2, 3)
            return Prediction(poses.sum(-1), reconstruction=decoder(poses, torch.ones(1, 2)))

    model = Draw((1, 1, 4), nn.Linear(4, 6))
    assert model_cost(model).decoder_parameters is None
    model.decoder = decoder
    assert model_cost(model).decoder_parameters == 6 * 5 + 5 + 5 * 4 + 4
    assert model_cost(model).parameters == (4 * 6 + 6) + (6 * 5 + 5 + 5 * 4 + 4)


def test_hooks_are_removed():
    layer = DynamicRouting(num_children=6, num_parents=5, child_dim=3, parent_dim=4)
    model = Small((1, 6, 3), Children(), layer).eval()
    first = model_cost(model)
    assert model_cost(model) == first
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    broken = Small((1, 6, 3), Children(), nn.Linear(4, 4))
    with pytest.raises(RuntimeError):
        model_cost(broken)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in broken.modules())


def test_models_may_depend_on_values():
    class Branching(Small):
        def forward(self, images, views=None):
            assert images.sum().item() == 0
            return super().forward(images)

    assert model_cost(Branching((1, 2, 2), nn.Flatten(), nn.Linear(4, 3))).flops == 24


def test_counted_operations_are_those_of_the_cost_and_change_no_mode():
    model = Small((1, 4, 4), nn.Conv2d(1, 2, 3), nn.Dropout())
    model.layers[1].eval()
    assert count_flops(model) == model_cost(model).flops == 2 * 2 * 9 * 4
    assert model.training and not model.layers[1].training


def test_operations_of_a_network_that_fails_are_not_counted():
    class Failing(nn.Module):
        def forward(self, images):
            raise ArithmeticError("no batch of one image")

    assert count_flops(Small((1, 4, 4), Failing())) is None
