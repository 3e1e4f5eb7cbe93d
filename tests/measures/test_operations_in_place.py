"""Operations in place change nothing that is measured: bits are those of a network without them."""

from typing import cast

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.capsules.inspection import inspect_routings
from capsbench.contracts import Batch, LayerOfInterest, Model, Prediction
from capsbench.errors import NotMeasuredError
from capsbench.measures import MeasureContext, parse_config, run_measure
from capsbench.measures._activations import capture_activations, choose_layers
from capsbench.measures._poolings import capture_poolings
from capsbench.measures._repeated_passes import repeated_pass_notes
from capsbench.measures._vote_spreads import record_vote_spreads
from capsbench.viewpoint.views import Views
from capsbench.wrapping import LogitsModel
from tests.measures.layered import NoiseImages

SHAPE = (1, 4, 4)
GRID = {"rotation": {"start": 90, "stop": 180, "step": 90}}


class Network(Model):
    """A residual network with a decoder, whose operations work in place or not."""

    def __init__(self, *, in_place):
        super().__init__(image_shape=SHAPE, num_classes=2)
        self.in_place = in_place
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=in_place)
        self.block = nn.Conv2d(3, 3, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.flat = nn.Flatten()  # a view
        self.classes = nn.Linear(12, 2)
        self.decoder = nn.Linear(12, 16)

    def forward(self, images, views=None):
        if self.in_place:
            images.sub_(0.25).div_(0.5)
            x = self.relu(self.conv(images))
            y = self.block(x)
            y += x
            y.mul_(2)
            y[:, :1] = 0
            features = F.relu_(self.flat(self.pool(y)))
        else:
            x = self.relu(self.conv((images - 0.25) / 0.5))
            y = 2 * (self.block(x) + x)
            y = torch.cat([torch.zeros_like(y[:, :1]), y[:, 1:]], dim=1)
            features = F.relu(self.flat(self.pool(y)))
        reconstruction = self.decoder(features).sigmoid().unflatten(1, SHAPE)
        return Prediction(self.classes(features), reconstruction=reconstruction)

    def logits(self, prediction):
        return prediction.scores.div_(2) if self.in_place else prediction.scores / 2

    def loss(self, prediction, batch, progress):
        return F.mse_loss(prediction.reconstruction, batch.images)

    def layers_of_interest(self):
        return {
            **{name: LayerOfInterest(name, "map") for name in ("conv", "relu", "block", "pool")},
            **{name: LayerOfInterest(name, "vector") for name in ("flat", "classes")},
            "before relu": LayerOfInterest("relu", "map", input=True),
            "features": LayerOfInterest("classes", "vector", input=True),
        }


def networks(*, trained=True):
    """Return the same network twice: with operations in place, and without."""
    pair = []
    for in_place in (True, False):
        torch.manual_seed(0)
        pair.append(Network(in_place=in_place).train(not trained))
    return pair


def images(count=5):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))


def test_layers_are_captured_as_they_were_put_out():
    in_place, other = (captured_layers(network) for network in networks())
    assert in_place.keys() == other.keys()
    for name, activation in other.items():
        assert torch.equal(in_place[name], activation), name
    assert torch.equal(other["pixels"], images())
    assert torch.equal(other["before relu"], other["conv"])
    assert (other["conv"] < 0).any()
    assert torch.equal(in_place["before pool"], other["before pool"])


def captured_layers(network):
    layers = choose_layers(network)
    with (
        torch.no_grad(),
        capture_activations(network, layers) as captured,
        capture_poolings(network) as pooled,
    ):
        network(images())
    return {**captured, **pooled}


@pytest.mark.parametrize("measure", ["invariance-error", "spatial-equivariance"])
def test_measures_of_layers(measure):
    require_equal(measure, grid=GRID, images=20)


def test_the_readout_with_its_poolings():
    views = {"shift": [-1, 1]}
    require_equal("pose-readout", factors=["shift_x"], views=views, images=60, poolings=True)


def test_exact_derivatives():
    require_equal("lie-derivative", directions=["shift_x"], images=10)


def test_probabilities():
    require_equal("consistency", grid=GRID, images=20)
    require_equal("averaged-accuracy", splits=["familiar"])


def test_attacks():
    require_equal("attacks", methods=["fgsm", "pgd"], epsilons=[0.05, 0.2], images=10)


def test_reconstructions_are_compared_with_the_images_and_not_with_what_is_left_of_them():
    require_equal("rendering-error", views={"near": {"rotation": [-30, 30]}})


def require_equal(measure, **arguments):
    config = parse_config({"measure": measure, **arguments})
    results = [
        run_measure(config, each, NoiseImages(), MeasureContext("cpu")) for each in networks()
    ]
    assert results[0].values
    assert list(results[0].values) == list(results[1].values)
    assert results[0].notes == results[1].notes
    for name, array in results[1].per_image.items():
        np.testing.assert_array_equal(results[0].per_image[name], array)


def test_the_loss_of_a_training_step_and_its_gradient():
    steps = []
    for network in networks(trained=False):
        pixels = images()
        batch = Batch(pixels, torch.zeros(5).long(), Views.identity(5), torch.arange(5))
        loss = network.loss(network(batch.images), batch, 0.0)
        loss.backward()
        assert torch.equal(pixels, images())
        steps.append((loss, network.conv.weight.grad))
    assert torch.equal(steps[0][0], steps[1][0])
    assert torch.equal(steps[0][1], steps[1][1])


def test_images_of_a_wrapped_module_are_not_changed():
    module = nn.Sequential(
        nn.ReLU(inplace=True), nn.Threshold(0.5, 0.0, inplace=True), nn.Flatten()
    )
    model = LogitsModel(module, image_shape=SHAPE, num_classes=16)
    pixels = images()
    model(pixels)
    assert torch.equal(pixels, images())


class Called(Model):
    """Calls one module twice, and others only for some batches; scores are in a buffer."""

    def __init__(self):
        super().__init__(image_shape=SHAPE, num_classes=16)
        self.twice = nn.Hardtanh(0.0, 0.5)
        self.sometimes = nn.Flatten()
        self.draws = nn.Flatten()
        self.scores: torch.Tensor
        self.register_buffer("scores", torch.zeros(8, 16))

    def forward(self, images, views=None):
        self.twice(self.twice(images) - 0.25)
        if len(images) > 1:
            self.sometimes(images)
        self.scores[: len(images)] = self.draws(images) + torch.rand(len(images), 16)
        return Prediction(self.scores[: len(images)])

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


def test_the_last_call_of_a_module_counts():
    model = Called()
    with capture_activations(model, choose_layers(model, ["twice", "pixels"])) as captured:
        model(images())
    expected = (images().clamp(0, 0.5) - 0.25).clamp(0, 0.5)
    assert torch.equal(captured["twice"], expected)


def test_a_layer_that_a_pass_does_not_call_is_not_that_of_an_earlier_pass():
    layers = {"sometimes": LayerOfInterest("sometimes", "vector")}
    model = Called()
    with capture_activations(model, layers) as captured:
        model(images(5))
        assert captured["sometimes"].shape == (5, 16)
        with pytest.raises(NotMeasuredError, match="does not call 'sometimes'"):
            model(images(1))


def test_a_module_inside_of_a_compiled_one_is_not_measured():
    module = nn.Sequential(nn.Sequential(nn.ReLU(inplace=True), nn.Flatten()), nn.Linear(16, 2))
    module.set_submodule("0", cast("nn.Module", torch.compile(module[0], backend="eager")))
    model = LogitsModel(module, image_shape=SHAPE, num_classes=2)
    assert choose_layers(model, ["0"])["0"].kind == "vector"
    with pytest.raises(NotMeasuredError, match="compiled code"):
        choose_layers(model, ["0._orig_mod.0"])


def test_scores_in_a_buffer_are_compared_with_those_of_the_first_pass():
    model = Called().eval()
    assert model.check_determinism(images()) > 0
    (note,) = repeated_pass_notes(model, NoiseImages(), "cpu")
    assert "differently each time" in note


class Routed(nn.Module):
    """Routes the images, whose inputs to the routing are overwritten in place or not."""

    def __init__(self, *, in_place):
        super().__init__()
        self.in_place = in_place
        self.routing = DynamicRouting(num_children=4, child_dim=4, num_parents=2, parent_dim=3)

    def forward(self, images):
        children = images.reshape(-1, 4, 4) + 0
        capsules = self.routing(children)
        result = capsules.presences.clone()
        if self.in_place:
            children.zero_()
            capsules.presences.zero_()
        return result


def test_votes_and_assignments_of_inputs_that_are_overwritten():
    recorded = []
    for in_place in (True, False):
        torch.manual_seed(0)
        network = Routed(in_place=in_place)
        with record_vote_spreads(network) as spreads:
            network(images())
        recorded.append((*spreads[0], *inspect_routings(network, images())["routing"]))
    for one, other in zip(*recorded, strict=True):
        assert torch.equal(one, other)
    assert recorded[0][0].all()
