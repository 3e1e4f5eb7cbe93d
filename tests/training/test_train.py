"""Trainings: repeatable, resumable, equal to plain Lightning, with divergence as a result."""

import errno
import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers.logger import DummyLogger

from capsbench.data.randomness import derive
from capsbench.environment.process_group import OtherProcessFailedError
from capsbench.environment.signals import Stopped, raise_pending_stop, stop_signals
from capsbench.errors import UserError
from capsbench.names import find
from capsbench.training.devices import resolve_device
from capsbench.training.execution import Execution
from capsbench.training.recipe import ProtocolRecipe, Recipe
from capsbench.training.schedule import learning_rate_factor
from capsbench.training.state_file import StateFile
from capsbench.training.task import Task
from capsbench.training.train import train
from capsbench.training.trajectory import Trajectory
from capsbench.viewpoint.ranges import ViewRange

RECIPE = ProtocolRecipe(
    steps=20, batch_size=24, learning_rate=0.01, evaluate_every=6, limit=90, schedule="cosine"
)
CPU = Execution(device="cpu", wandb="off")


class Killed(Exception):
    """Simulates a killed process."""


@pytest.fixture
def run(tiny_file, tmp_path):
    tiny = find("models", f"{tiny_file}:Tiny").load()
    digits = find("datamodules", "digits").load()

    def run(
        *,
        seed=0,
        recipe=RECIPE,
        execution=CPU,
        kill_at=None,
        signal_at=(None, None),
        state="state.ckpt",
        loggers=(),
        **arguments,
    ):
        def on_step(step):
            if step == kill_at:
                raise Killed
            if step == signal_at[0]:
                signal.raise_signal(signal_at[1])

        return train(
            lambda: tiny(image_shape=(1, 32, 32), num_classes=10, **arguments),
            digits(
                views=ViewRange(rotation=(-15, 15)),
                batch_size=recipe.batch_size,
                seed=seed,
                limit=recipe.limit,
            ),
            recipe,
            execution,
            seed=seed,
            state=tmp_path / state,
            loggers=list(loggers),
            on_step=on_step,
            on_rows=lambda rows: None,
        )

    return run


def numbers(result):
    """Return the trajectory without the time."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in result.rows]


def same_weights(one, other):
    return all(
        one.chosen[rule][0] == other.chosen[rule][0]
        and all(
            torch.equal(one.chosen[rule][1][k], other.chosen[rule][1][k])
            for k in one.chosen[rule][1]
        )
        for rule in ("validation", "last")
    )


def test_variables_of_lightning_change_no_number(run, monkeypatch):
    expected = numbers(run())
    monkeypatch.setenv("PL_TRAINER_GRADIENT_CLIP_VAL", "1e-9")
    assert numbers(run(state="other.ckpt")) == expected


def test_validation_runs_at_its_steps_and_at_the_end(run):
    result = run()
    assert [row["step"] for row in result.rows] == [6, 12, 18, 20]
    assert result.chosen["last"][0] == 20
    best = max(row["validation_accuracy"] for row in result.rows)
    step = result.chosen["validation"][0]
    assert next(r for r in result.rows if r["step"] == step)["validation_accuracy"] == best
    assert result.rows[-1]["train_loss"] < result.rows[0]["train_loss"]


def test_same_seed_same_bits_other_seed_other_bits(run):
    first, second, other = run(), run(state="b"), run(seed=1, state="c")
    assert numbers(first) == numbers(second)
    assert same_weights(first, second)
    assert not same_weights(first, other)


@pytest.mark.parametrize("kill_at", [3, 6, 7, 13, 19])
def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(run, kill_at):
    # 90 images in batches of 24: an epoch has three steps; kills are within and between epochs.
    uninterrupted = run(state="uninterrupted")
    with pytest.raises(Killed):
        run(kill_at=kill_at)
    torch.rand(17)  # other random numbers of the new process
    resumed = run()
    assert numbers(resumed) == numbers(uninterrupted)
    assert same_weights(resumed, uninterrupted)


@pytest.mark.parametrize(
    ("name", "step"),
    [("SIGINT", 1), ("SIGTERM", 5), ("SIGHUP", 6), ("SIGUSR1", 11), ("SIGUSR2", 18)],
)
def test_a_signal_ends_a_training_after_the_next_step(run, tmp_path, name, step):
    """The state of that step is saved; resumed, the training has the bits of an undisturbed one."""
    uninterrupted = run(state="uninterrupted")
    number = getattr(signal, name)
    handler = signal.getsignal(number)
    with stop_signals(), pytest.raises(Stopped) as stop:
        run(signal_at=(step, number))
    assert stop.value.number == number
    assert signal.getsignal(number) is handler
    assert torch.load(tmp_path / "state.ckpt", weights_only=True)["global_step"] == step + 1
    resumed = run()
    assert numbers(resumed) == numbers(uninterrupted)
    assert same_weights(resumed, uninterrupted)


def test_a_signal_in_the_last_step_waits_for_the_result(run):
    with stop_signals():
        result = run(signal_at=(19, signal.SIGTERM))
        assert result.rows[-1]["step"] == 20
        with pytest.raises(KeyboardInterrupt):
            raise_pending_stop()


def test_a_state_that_cannot_be_written_ends_a_stop_with_the_reason(run, tmp_path, monkeypatch):
    with stop_signals(), pytest.raises(Stopped):
        run(signal_at=(2, signal.SIGTERM))
    before = (tmp_path / "state.ckpt").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.save", full)
    with stop_signals(), pytest.raises(OSError, match=r"state\.ckpt") as failed:
        run(signal_at=(4, signal.SIGTERM))
    assert failed.value.errno == errno.ENOSPC
    assert (tmp_path / "state.ckpt").read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))


def test_a_state_can_be_saved_between_validations(run, tmp_path):
    execution = CPU.model_copy(update={"checkpoint_every": 4})
    uninterrupted = run(state="uninterrupted")
    with pytest.raises(Killed):
        run(kill_at=11, execution=execution)
    state = torch.load(tmp_path / "state.ckpt", weights_only=True)
    assert state["global_step"] == 8
    resumed = run(execution=execution)
    assert numbers(resumed) == numbers(uninterrupted)
    assert same_weights(resumed, uninterrupted)


def test_a_divergence_is_recorded_with_its_step(run):
    result = run(explode=True)
    # The loss explodes after ten of twenty steps; the next validation is at step 12.
    assert result.diverged_at == 11
    assert [row["step"] for row in result.rows] == [6]


def test_a_resumed_training_reports_an_earlier_divergence(run, tmp_path):
    execution = CPU.model_copy(update={"checkpoint_every": 4})
    recipe = RECIPE.model_copy(update={"evaluate_every": 20})
    with pytest.raises(Killed):
        run(explode=True, kill_at=9, execution=execution, recipe=recipe)
    assert (tmp_path / "state.ckpt").is_file()
    # The next state would be saved at 12, after the non-finite step and before the validation.
    resumed = run(explode=True, execution=execution, recipe=recipe)
    assert resumed.diverged_at == 11


def test_non_finite_weights_after_the_last_step_are_a_divergence(run):
    recipe = RECIPE.model_copy(update={"steps": 1, "learning_rate": 1e38, "optimizer": "sgd"})
    assert run(recipe=recipe).diverged_at == 1


@pytest.mark.parametrize("content", [b"", b"PK half", bytes(range(256))])
def test_a_damaged_state_is_refused(run, tmp_path, content):
    (tmp_path / "state.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"state\.ckpt is damaged"):
        run()


def test_a_state_is_replaced_by_a_rename(run, tmp_path, monkeypatch):
    """A kill before the rename leaves the old state intact."""

    def die(self, target):
        raise Killed

    with pytest.raises(Killed):
        run(kill_at=8)
    before = (tmp_path / "state.ckpt").read_bytes()
    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(Killed):
        run()
    assert (tmp_path / "state.ckpt").read_bytes() == before


def test_no_process_waits_for_one_that_cannot_save(tmp_path):
    nothing: Any = None
    trajectory = Trajectory(
        nothing, every=1, save_every=1, state=tmp_path / "state.ckpt", on_rows=lambda rows: None
    )
    strategy = SimpleNamespace(checkpoint_io=StateFile(), broadcast=lambda failed: True)
    trainer: Any = SimpleNamespace(strategy=strategy, save_checkpoint=lambda path: None)
    with pytest.raises(OtherProcessFailedError):
        trajectory._save(trainer)
    strategy.broadcast = lambda failed: failed
    trajectory._save(trainer)


def test_every_validation_reaches_the_loggers(run):
    class Recorder(DummyLogger):
        logged: ClassVar[list[tuple[int, str]]] = []

        def log_metrics(self, metrics, step=None):
            self.logged.extend((step, name) for name in metrics)

    run(loggers=[Recorder()])
    steps = [step for step, name in Recorder.logged if name == "validation_accuracy"]
    assert steps == [5, 11, 17, 19]  # Lightning counts from 0


def test_execution_and_precision_reach_the_trainer(run, monkeypatch):
    class Called(Exception):
        pass

    def trainer(**arguments):
        raise Called(arguments)

    monkeypatch.setattr("capsbench.training.train.make_trainer", trainer)
    variables = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "6", "GROUP_WORLD_SIZE": "2"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os.environ", dict(os.environ))  # it is changed
    execution = Execution(device="cuda", devices=3, nodes=2, strategy="ddp")
    with pytest.raises(Called) as called:
        run(execution=execution, recipe=RECIPE.model_copy(update={"precision": "bf16-mixed"}))
    (passed,) = called.value.args
    names = ("accelerator", "devices", "num_nodes", "strategy", "precision", "max_steps")
    assert [passed[name] for name in names] == ["gpu", 3, 2, "ddp", "bf16-mixed", 20]


def test_one_process_has_no_meeting_place(run, monkeypatch):
    monkeypatch.setattr("os.environ", os.environ.copy())  # Lightning would change it
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        alone = run(execution=CPU.model_copy(update={"strategy": "ddp"}))
    assert len(alone.rows) == 4


def test_bfloat16_trains(run):
    half = run(recipe=RECIPE.model_copy(update={"precision": "bf16-mixed"}))
    full = run(state="b")
    assert half.rows[-1]["train_loss"] == pytest.approx(full.rows[-1]["train_loss"], rel=0.1)
    assert half.rows != full.rows
    assert all(w.dtype == torch.float32 for w in half.chosen["last"][1].values())


def test_plain_lightning_trains_the_same_task(tiny_file):
    tiny = find("models", f"{tiny_file}:Tiny").load()
    data = find("datamodules", "digits").load()(batch_size=50, limit=100)
    task = Task(tiny(image_shape=data.image_shape, num_classes=data.num_classes))
    trainer = Trainer(
        max_epochs=10, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(task, datamodule=data)
    assert trainer.global_step == 20
    assert trainer.callback_metrics["validation_accuracy"] > 0.15
    expected = task.model.eval()
    hits = [
        (expected(b.images).scores.argmax(-1) == b.targets).float()
        for b in data.evaluation.batches("validation", "cpu")
    ]
    accuracy = torch.cat(hits).mean()
    torch.testing.assert_close(trainer.callback_metrics["validation_accuracy"], accuracy)
    (tested,) = trainer.test(task, datamodule=data, verbose=False)
    right = [
        (expected(b.images).scores.argmax(-1) == b.targets).sum().item()
        for b in data.evaluation.batches("test", "cpu")
    ]
    assert tested["test_accuracy"] == pytest.approx(sum(right) / 100)


def test_schedules_start_at_one_and_end_at_their_share():
    for schedule in ("cosine", "exponential"):
        recipe = Recipe(schedule=schedule, final_learning_rate=0.05)
        factors = [learning_rate_factor(recipe, step, 10) for step in range(11)]
        assert factors[0] == pytest.approx(1)
        assert factors[-1] == pytest.approx(0.05)
        assert factors == sorted(factors, reverse=True)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential"])
def test_a_warm_up_rises_to_the_schedule(schedule):
    recipe = Recipe(schedule=schedule, final_learning_rate=0.05, warmup=0.2)
    factors = [learning_rate_factor(recipe, step, 50) for step in range(51)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    rest = recipe.model_copy(update={"warmup": 0.0})
    assert factors[10:] == [learning_rate_factor(rest, step, 40) for step in range(41)]


def test_a_batch_size_that_is_not_a_multiple_of_the_processes_is_refused(monkeypatch):
    data = find("datamodules", "digits").load()(batch_size=25, limit=50)
    monkeypatch.setattr(type(data), "rank_and_world_size", (0, 2))
    with pytest.raises(UserError, match="multiple of 2"):
        data.train_dataloader()


def test_a_missing_device_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(UserError, match="'cuda' is not available"):
        resolve_device("cuda")


def test_derived_seeds_differ_by_every_name():
    seeds = {derive(seed, name, step) for seed in range(5) for name in "ab" for step in range(5)}
    assert len(seeds) == 50
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_settings_that_lightning_refuses_are_a_user_error(run):
    # Bypasses the schema, which refuses fsdp.
    refused = CPU.model_copy(update={"strategy": "fsdp", "devices": 2})
    with pytest.raises(UserError, match=r"Lightning refuses .*fsdp"):
        run(execution=refused)
