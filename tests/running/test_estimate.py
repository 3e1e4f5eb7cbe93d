"""What a dry run says of time, memory and disk."""

import pytest

from capsbench.profiling.model_cost import model_cost
from capsbench.running import estimate
from capsbench.running.estimate import estimates
from capsbench.running.plan import plan
from capsbench.schema import load_benchmark


def test_equal_networks_are_timed_once_and_sizes_are_those_of_the_model(monkeypatch):
    timed = []

    def seconds(model, recipe, device, routing):
        timed.append(type(model).__name__)
        return 0.25

    monkeypatch.setattr(estimate, "step_seconds", seconds)
    cells = plan(load_benchmark("quick"))
    found = estimates(cells, "cpu", "auto")
    assert timed == ["CNNSmall", "CapsNetDR", "CapsNetEM"]
    for cell, each in zip(cells, found, strict=True):
        model = cell.build_model()
        size = 4 * sum(weight.numel() for weight in model.parameters())
        assert each.seconds == 0.25 * 400
        assert each.disk_bytes == 2 * size
        assert each.vote_bytes == sum(model_cost(model.eval()).vote_bytes(64).values())
    assert found[0].vote_bytes == 0


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_step_is_timed_as_it_would_be_trained(precision):
    cell = plan(load_benchmark("quick", {"recipe.precision": precision, "recipe.batch_size": 4}))[2]
    model = cell.build_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert estimate.step_seconds(model, cell.recipe, "cpu", "auto") > 0
    assert any(not value.equal(before[name]) for name, value in model.state_dict().items())
