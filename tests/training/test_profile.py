"""Profiles: the right steps, readable files, and no influence on the training."""

import gzip
import json
from types import SimpleNamespace

import pytest
import torch
from torch._C._autograd import _profiler_enabled

from capsbench.names import find
from capsbench.training.execution import Execution
from capsbench.training.profile import TABLE, TRACE, Profile
from capsbench.training.recipe import ProtocolRecipe
from capsbench.training.train import train
from capsbench.viewpoint.ranges import ViewRange


class Killed(Exception):
    """Simulates a killed process."""


@pytest.fixture
def run(tiny_file, tmp_path):
    """Return a function that trains a tiny model, by default for 20 steps with a profile."""
    tiny = find("models", f"{tiny_file}:Tiny").load()
    digits = find("datamodules", "digits").load()

    def run(*, steps=20, profiled=True, kill_at=None, **arguments):
        def on_step(step):
            if step == kill_at:
                raise Killed

        return train(
            lambda: tiny(image_shape=(1, 32, 32), num_classes=10, **arguments),
            digits(views=ViewRange(rotation=(-15, 15)), batch_size=24, limit=90),
            ProtocolRecipe(steps=steps, batch_size=24, evaluate_every=6),
            Execution(device="cpu", wandb="off", profile=profiled),
            seed=0,
            state=tmp_path / "state.ckpt",
            profile=tmp_path / "profile" if profiled else None,
            loggers=[],
            on_step=on_step,
            on_rows=lambda rows: None,
        )

    return run


def profiled_steps(folder):
    """Return the table's description of the steps and the number of steps in the trace."""
    events = json.loads(gzip.decompress((folder / TRACE).read_bytes()))["traceEvents"]
    marked = {event["name"] for event in events if event["name"].startswith("ProfilerStep#")}
    return (folder / TABLE).read_text().partition(" on ")[0], len(marked)


def test_the_trace_and_the_table_hold_the_models_operations(run, tmp_path):
    run()
    assert sorted(path.name for path in (tmp_path / "profile").iterdir()) == [TABLE, TRACE]
    events = json.loads(gzip.decompress((tmp_path / "profile" / TRACE).read_bytes()))["traceEvents"]
    names = [event["name"] for event in events]
    # A linear map for each batch, and for the validation after step 6.
    assert (names.count("aten::addmm"), names.count("AddmmBackward0")) == (5 + 1, 5)
    assert {"warp", "aten::grid_sampler"} & set(names)
    assert any(name.startswith("Optimizer.step#Adam") for name in names)
    table = (tmp_path / "profile" / TABLE).read_text()
    assert table.startswith("steps 6 to 10 of 20 on cpu, by self time\n")
    assert "aten::avg_pool2d" in table


@pytest.mark.parametrize(
    ("steps", "first", "last"), [(1, 1, 1), (3, 1, 3), (5, 1, 5), (7, 3, 7), (10, 6, 10)]
)
def test_short_trainings(run, tmp_path, steps, first, last):
    run(steps=steps)
    words = f"steps {first} to {last} of {steps}"
    assert profiled_steps(tmp_path / "profile") == (words, last - first + 1)


@pytest.mark.parametrize(("kill_at", "first"), [(7, 12), (13, 16)])
def test_a_resumed_training_is_profiled_after_its_first_steps(run, tmp_path, kill_at, first):
    with pytest.raises(Killed):
        run(kill_at=kill_at)
    run()
    assert profiled_steps(tmp_path / "profile") == (f"steps {first} to {first + 4} of 20", 5)


def test_a_profile_does_not_change_the_training(run, tmp_path):
    plain, profiled = run(profiled=False), run()
    assert (tmp_path / "profile").is_dir()
    for rule, (step, weights) in plain.chosen.items():
        assert profiled.chosen[rule][0] == step
        assert all(torch.equal(profiled.chosen[rule][1][name], weights[name]) for name in weights)
    for one, other in zip(plain.rows, profiled.rows, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_a_training_that_ends_during_the_profiled_steps_leaves_no_profile(run, tmp_path):
    assert run(steps=8, explode=True).diverged_at == 5  # detected at the validation at step 6
    with pytest.raises(Killed):
        run(kill_at=7)
    assert not (tmp_path / "profile").exists()
    assert not _profiler_enabled()
    run()
    assert (tmp_path / "profile").is_dir()


def test_only_the_first_process_of_a_group_is_profiled(tmp_path):
    trainer = SimpleNamespace(global_step=5, is_global_zero=False)
    profile = Profile(tmp_path / "profile")
    profile.steps = range(6, 11)
    profile.on_train_batch_end(trainer, SimpleNamespace())  # type: ignore[arg-type]
    assert profile._running is None
