"""Estimates of a dry run: time, memory and disk."""

import pytest

from capsbench.errors import UserError
from capsbench.profiling.model_cost import model_cost
from capsbench.running import estimate
from capsbench.running.estimate import estimate_trainings
from capsbench.running.plan import plan
from capsbench.schema import load_benchmark


def test_equal_networks_are_timed_once(monkeypatch):
    timed = []

    def seconds(model, recipe, device, backend):
        timed.append(type(model).__name__)
        return 0.25

    monkeypatch.setattr(estimate, "step_seconds", seconds)
    cells = plan(load_benchmark("quick"))
    estimates = estimate_trainings(cells, "cpu", "auto")
    assert timed == ["CNNSmall", "CapsNetDR", "CapsNetEM"]
    for cell, each in zip(cells, estimates, strict=True):
        model = cell.build_model()
        size = 4 * sum(weight.numel() for weight in model.parameters())
        assert each.seconds == 0.25 * 400
        assert each.disk_bytes == 2 * size
        assert each.vote_bytes == sum(model_cost(model.eval()).vote_bytes(64).values())
    assert estimates[0].vote_bytes == 0


@pytest.mark.parametrize("error", [ValueError("no such axis"), MemoryError()])
def test_a_step_that_fails_is_part_of_the_estimate(monkeypatch, error):
    def seconds(model, recipe, device, backend):
        if type(model).__name__ == "CNNSmall":
            raise error
        return 0.25

    monkeypatch.setattr(estimate, "step_seconds", seconds)
    cells = plan(load_benchmark("quick", {"seeds": [0]}))
    failing, *others = estimate_trainings(cells, "cpu", "auto")
    assert failing.seconds is None
    assert failing.disk_bytes > 0
    assert str(error) in str(failing.problem)
    assert [other.problem for other in others] == [None, None]
    monkeypatch.setattr(estimate, "step_seconds", lambda *_: (_ for _ in ()).throw(UserError("no")))
    with pytest.raises(UserError):
        estimate_trainings(cells, "cpu", "auto")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_timed_step_is_a_training_step(precision):
    cell = plan(load_benchmark("quick", {"recipe.precision": precision, "recipe.batch_size": 4}))[2]
    model = cell.build_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert estimate.step_seconds(model, cell.recipe, "cpu", "auto") > 0
    assert any(not value.equal(before[name]) for name, value in model.state_dict().items())
