"""The network before training: the very weights, and the schedules of the trained network."""

import math

import pytest
import torch

from capsbench.records import MeasureRecord, TrainingRecord
from capsbench.running.checkpoints import load_checkpoint
from capsbench.running.measure_job import measure_cell, untrained_model
from capsbench.running.plan import plan
from capsbench.running.train_job import train_cell
from capsbench.schema import Benchmark
from capsbench.training.task import Task
from capsbench.values import Quantity

SMALL_EM = {
    "channels": 4, "kernel": 9, "stride": 4, "primary_types": 2, "types": [2], "strides": [2],
    "iterations": 1,
}  # fmt: skip
INVARIANCE = {
    "measure": "invariance-error",
    "grid": {"rotation": {"start": 0, "stop": 30, "step": 30}},
    "images": 20,
}
NETWORK = '''
from torch import nn


class Normalized(nn.Sequential):
    """A network with batch normalization, for any images of 1 x 32 x 32."""

    def __init__(self, classes: int = 10):
        super().__init__(
            nn.Conv2d(1, 4, 5, 4), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(196, classes)
        )
'''


@pytest.fixture
def first_weights(monkeypatch):
    """The state of each network when its optimizer is made, before the first step."""
    states = []
    made = Task.build_optimizer

    def build_optimizer(self):
        states.append({name: each.clone() for name, each in self.model.state_dict().items()})
        return made(self)

    monkeypatch.setattr(Task, "build_optimizer", build_optimizer)
    return states


def trained_cell(session, protocol, model):
    """Train one cell, without a page."""
    recipe = {**protocol["recipe"], "steps": 6, "evaluate_every": 2, "limit": 60}
    changes = {"models": [model], "recipe": recipe, "seeds": [1], "measures": [INVARIANCE]}
    (cell,) = plan(Benchmark.model_validate({**protocol, **changes}))
    train_cell(cell, session)
    return cell


@pytest.mark.parametrize("model", ["capsnet-em", "capsnet-dr", "normalized"])
def test_it_has_the_bits_with_which_the_training_began(
    session, tiny_protocol, first_weights, tmp_path, model
):
    arguments = {"capsnet-em": SMALL_EM, "capsnet-dr": {"channels": 4, "primary_types": 2}}
    name = model
    if model == "normalized":
        (tmp_path / "own.py").write_text(NETWORK)
        name = f"{tmp_path / 'own.py'}:Normalized"
    entry = {"name": name, "label": "A", "arguments": arguments.get(model, {})}
    cell = trained_cell(session, tiny_protocol, entry)
    folder = session.folder(cell)
    step = TrainingRecord.load(folder.training).selected[cell.rule].step
    state = torch.random.get_rng_state()
    untrained = untrained_model(cell, step).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    trained = load_checkpoint(folder.checkpoint(cell.rule), cell.model).state_dict()
    (began,) = first_weights
    assert untrained.keys() == began.keys() == trained.keys()
    schedules = {"inverse_temperature"}
    for key, tensor in untrained.items():
        expected = trained if key in schedules else began
        assert torch.equal(tensor, expected[key]), key
    assert any(not torch.equal(began[key], trained[key]) for key in began)
    if model == "capsnet-em":
        assert not math.isclose(began["inverse_temperature"], trained["inverse_temperature"])


def test_a_record_holds_both_networks_and_is_made_again_with_the_same_values(
    session, tiny_protocol
):
    entry = {"name": "cnn-small", "label": "CNN", "arguments": {"width": 2, "hidden": 4}}
    cell = trained_cell(session, tiny_protocol, entry)
    records = []
    for _ in range(2):
        measure_cell(cell, session)
        (path,) = map(session.folder(cell).measure, cell.measures)
        records.append(MeasureRecord.load(path))
        path.unlink()
    record, again = records
    assert record.values == again.values
    hidden = Quantity(metric="invariance_error", layer="hidden")
    trained, untrained = record.get(hidden), record.get(hidden.of_untrained())
    assert trained is not None
    assert untrained is not None
    assert trained != untrained
    assert record.get(Quantity(metric="invariance_error", layer="pixels").of_untrained()) is None
    assert not any("untrained" in note for note in record.notes)
