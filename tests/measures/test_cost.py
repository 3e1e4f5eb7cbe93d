"""The cost of a model as a measure."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.contracts import Model, Prediction
from capsbench.measures import Cost, MeasureEntry
from capsbench.measures.cost import measure
from capsbench.profiling.model_cost import cost
from capsbench.profiling.timing import WARM, seconds_per_call
from tests.data.made_up import Flat


class Routed(Model):
    """Sixteen children of four pixels each, routed to three classes; its layers count calls."""

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


def outcome(model, data=None, **arguments):
    entry = Cost(measure="cost", **arguments)
    advanced = []
    found = measure(entry, model, data or Flat(batch_size=10), "cpu", lambda: advanced.append(1))
    assert len(advanced) == entry.steps
    return found


def test_what_is_counted():
    model = Routed().eval()
    values = outcome(model, repeats=1).values
    counted = cost(model)
    assert values["parameters"] == counted.parameters == 2 + 16 * 3 * 4 * 5
    assert values["flops"] == counted.flops > 0
    assert values["votes/bytes@routing"] == values["votes/bytes"] == 4 * 16 * 3 * 5
    assert "decoder/parameters" not in values


def test_what_is_measured_on_this_device():
    found = outcome(Routed().eval(), batch_size=12, repeats=3)
    assert found.n == 12
    for work, count in (("inference", 12), ("training", 10)):
        seconds = found.samples[f"{work}/seconds"]
        assert len(seconds) == 3
        rate = count / float(np.median(seconds))
        assert found.values[f"{work}/images per second"] == pytest.approx(rate)
        assert found.values[f"{work}/peak bytes"] > count * 64 * 4
    assert found.values["training/peak bytes"] > found.values["inference/peak bytes"]
    assert found.notes == ()


def test_no_more_images_than_there_are():
    model = Routed().eval()
    assert outcome(model, batch_size=1000, repeats=1).n == 15
    # One black image is counted; two batches are warm, one is timed, one's memory is watched.
    assert model.calls == [(1, False)] + [(15, False)] * (WARM + 2)


def test_a_model_is_not_trained_further():
    model = Routed().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    outcome(model, repeats=1)
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_warm_calls_are_not_timed(monkeypatch):
    now, calls = [0.0], []

    def call():
        calls.append(1)
        now[0] += 100 if len(calls) <= WARM else len(calls)

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    assert seconds_per_call(call, "cpu", 3) == [WARM + 1, WARM + 2, WARM + 3]


@pytest.mark.parametrize("content", [{"batch_size": 0}, {"repeats": 0}, {"images": 5}], ids=str)
def test_what_makes_no_sense_is_refused(content):
    with pytest.raises(ValidationError):
        TypeAdapter(MeasureEntry).validate_python({"measure": "cost", **content})
