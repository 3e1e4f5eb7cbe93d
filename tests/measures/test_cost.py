"""Cost of a model as a measure."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.contracts import Model, Prediction
from capsbench.measures.cost import CostConfig
from capsbench.profiling.model_cost import model_cost
from capsbench.profiling.timing import WARMUP_CALLS
from tests.data.made_up import Flat
from tests.measures.computing import compute, number, numbers


class Routed(Model):
    """Sixteen children of four pixels each, routed to three classes; it records its calls."""

    def __init__(self):
        super().__init__(image_shape=(1, 8, 8), num_classes=3)
        torch.manual_seed(0)
        self.norm = nn.BatchNorm2d(1)
        self.drop = nn.Dropout(0.5)
        self.routing = DynamicRouting(num_children=16, num_parents=3, child_dim=4, parent_dim=5)
        self.calls = []

    def forward(self, images, views=None):
        self.calls.append((len(images), self.training))
        children = self.drop(self.norm(images)).reshape(len(images), 16, 4)
        poses, presences = self.routing(children)
        return Prediction(presences, presences, poses)

    def loss(self, prediction, batch, progress):
        return nn.functional.cross_entropy(prediction.scores, batch.targets)


def measured(model, **arguments):
    return compute("cost", model, Flat(batch_size=10), **arguments)


def test_parameters_operations_and_votes():
    model = Routed().eval()
    result = measured(model, repeats=1)
    cost = model_cost(model)
    assert number(result, metric="parameters") == cost.parameters == 2 + 16 * 3 * 4 * 5
    assert number(result, metric="flops") == cost.flops > 0
    votes = number(result, metric="vote_bytes")
    assert number(result, metric="vote_bytes", layer="routing") == votes == 4 * 16 * 3 * 5
    assert "decoder_parameters" not in numbers(result)


def test_speed_and_memory_on_this_device():
    result = measured(Routed().eval(), batch_size=12, repeats=3)
    peaks = {}
    for phase, count in (("inference", 12), ("training", 10)):
        seconds = result.per_image[f"seconds[phase={phase}]"]
        assert len(seconds) == 3
        rate = count / float(np.median(seconds))
        assert number(result, metric="images_per_second", phase=phase) == pytest.approx(rate)
        peaks[phase] = number(result, metric="peak_bytes", phase=phase)
        assert peaks[phase] > count * 64 * 4
        assert {v.n for v in result.values if v.condition == {"phase": phase}} == {count}
    assert peaks["training"] > peaks["inference"]
    assert result.notes == ()


def test_a_batch_is_no_larger_than_the_split():
    model = Routed().eval()
    result = measured(model, batch_size=1000, repeats=1)
    assert {v.n for v in result.values if v.condition == {"phase": "inference"}} == {15}
    # One black image is counted; two batches are warm, one is timed, one is measured in memory.
    assert model.calls == [(1, False)] + [(15, False)] * (WARMUP_CALLS + 2)


def test_the_model_stays_as_it_was():
    model = Routed().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measured(model, repeats=1)
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_network_that_works_in_place_gets_the_same_images_each_time():
    largest = []

    class InPlace(Routed):
        def forward(self, images, views=None):
            largest.append(float(images.max()))
            return super().forward(images.mul_(2))

    measured(InPlace().eval(), repeats=2)
    inference = largest[1:6]  # after the black image that is counted
    assert len(set(inference)) == 1
    assert len(set(largest[6:])) == 1  # training, on other images


def test_without_parameters_nothing_is_trained():
    model = Routed().eval().requires_grad_(False)
    result = measured(model, repeats=1)
    assert not any(value.condition == {"phase": "training"} for value in result.values)
    (note,) = result.notes
    assert "no parameters" in note


@pytest.mark.parametrize("content", [{"batch_size": 0}, {"repeats": 0}, {"images": 5}], ids=str)
def test_wrong_arguments_are_refused(content):
    with pytest.raises(ValidationError):
        CostConfig.model_validate({"measure": "cost", **content})
