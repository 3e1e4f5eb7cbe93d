"""The mirror on Weights & Biases: one run per training, measured cell and benchmark."""

from dataclasses import replace

import wandb

from capsbench.running.mirror import training_mirror
from capsbench.running.plan import plan
from capsbench.schema import Benchmark


def test_a_failing_start_ends_no_run(run, tiny_protocol, monkeypatch, caplog):
    def fail(**_):
        raise RuntimeError("the service did not start")

    monkeypatch.setattr("wandb.init", fail)
    run({**tiny_protocol, "seeds": [0]}, wandb="offline")
    assert "the service did not start" in caplog.text


def test_a_failing_log_ends_no_run(run, tiny_protocol, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("wandb.sdk.wandb_run.Run.log", fail)
    run({**tiny_protocol, "seeds": [0]}, wandb="offline")
    assert "disk full" in caplog.text


def test_runs_of_a_mirrored_benchmark(run, tiny_protocol, session):
    cells, _ = run(tiny_protocol, wandb="offline")
    for cell in cells:  # its training, and its measures
        files = list(session.folder(cell).path.glob("wandb/offline-run-*/*.wandb"))
        assert len({file.name for file in files}) == 2
    assert len(list((session.output / "tiny").glob("wandb/offline-run-*/*.wandb"))) == 1


def test_a_training_that_fails_leaves_no_run_that_the_next_one_would_join(tiny_protocol, session):
    cell, *_ = plan(Benchmark.model_validate(tiny_protocol))
    execution = session.execution.model_copy(update={"wandb": "offline"})
    mirrored = replace(session, execution=execution)
    mirror = training_mirror(cell, "tiny", mirrored)
    assert len(mirror.__enter__()) == 1
    assert wandb.run is not None
    error = ArithmeticError("of the training")
    assert not mirror.__exit__(type(error), error, None)
    assert wandb.run is None
