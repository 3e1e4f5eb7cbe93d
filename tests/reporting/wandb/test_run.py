"""A run: its files can be read back and sent, and its failures end nothing."""

import subprocess
import sys
import time

import pytest

from capsbench.reporting.wandb import run as run_module
from capsbench.reporting.wandb.run import Destination, begin
from tests.reporting.wandb.reading import read_runs


def begin_run(destination, job_type="train"):
    return begin(
        destination,
        run_id="0123456789ab",
        name="cnn-small, seed 0",
        group="digits",
        job_type=job_type,
        config={"model": "cnn-small", "seed": 0},
        notes="A note.",
        tags=["one"],
        live=job_type == "train",
    )


def sync(folder):
    command = [sys.executable, "-m", "wandb", "sync", "runs/wandb"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stderr


def test_a_run_without_account_or_network_can_be_read_back(tmp_path):
    run = begin_run(Destination(tmp_path, "offline", project="p", tags=("two",)))
    run.define_axis("step", ["*"])
    run.log({"step": 3, "train_loss": 2.5})
    rows = [("rotation", 90.0, 1), ("scale", None, "none")]
    run.log_table("values", ("factor", "value", "mixed"), rows)
    run.summarize({"gap": 0.25})
    run.finish()
    assert not run.failed
    (read,) = read_runs(tmp_path)
    assert read.config == {"model": "cnn-small", "seed": 0}
    assert read.run["project"] == "p"
    assert (read.run["run_group"], read.run["job_type"]) == ("digits", "train")
    assert (read.run["tags"], read.run["notes"]) == (["two", "one"], "A note.")
    assert read.line("step", "train_loss") == [(3, 2.5)]
    assert read.summary["gap"] == 0.25
    columns = ["factor", "value", "mixed"]
    assert read.table("values") == (columns, [["rotation", 90.0, "1"], ["scale", None, "none"]])
    kinds = {"factor": {"string"}, "value": {"number"}, "mixed": {"string"}}
    assert read.column_types("values") == kinds


def test_the_project_of_the_environment_is_the_default(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    begin_run(Destination(tmp_path, "offline")).finish()
    (read,) = read_runs(tmp_path)
    assert read.run["project"] == "mine"


def test_a_failure_is_stated_once_and_ends_nothing(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    destination = Destination(tmp_path, "offline")
    run = begin_run(destination)
    monkeypatch.setattr("wandb.sdk.wandb_run.Run.log", fail)
    run.log({"step": 1})
    run.summarize({"gap": 0.25})
    assert run.failed
    run.finish()
    assert destination.failure == "disk full"
    (read,) = read_runs(tmp_path)
    assert "gap" not in read.summary
    destination.forget_failure()
    assert destination.failure == ""


def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path):
    (tmp_path / "wandb").write_text("a file")
    destination = Destination(tmp_path, "offline")
    assert begin_run(destination) is None
    assert "exists" in destination.failure


def test_synced_twice_is_uploaded_once(tmp_path, stand_in):
    """The command of the README sends every run; a resumed training continues its run."""
    for steps in ((1, 2), (3, 4)):
        run = begin_run(Destination(tmp_path / "runs", "offline", project="p"))
        for step in steps:
            run.log({"step": step})
        run.finish()
        time.sleep(1)  # the names of the folders have the second
    assert "Syncing 2 run(s)" in sync(tmp_path)
    assert stand_in.runs["0123456789ab"]["groupName"] == "digits"
    assert [row["step"] for row in stand_in.history("0123456789ab")] == [1, 2, 3, 4]
    before = len(stand_in.operations)
    assert "No runs to sync" in sync(tmp_path)
    assert len(stand_in.operations) == before


def test_a_live_run_is_sent(tmp_path, stand_in):
    destination = Destination(tmp_path, "online", entity="lab")
    run = begin_run(destination)
    run.log({"step": 1})
    run.finish()
    assert (run.failed, destination.failure) == (False, "")
    assert stand_in.runs["0123456789ab"]["jobType"] == "train"
    assert [row["step"] for row in stand_in.history("0123456789ab")] == [1]


def test_a_run_of_records_takes_the_place_of_the_earlier_one(tmp_path):
    for note in ("earlier", "later"):
        run = begin_run(Destination(tmp_path, "online"), "evaluate")
        run.summarize({"note": note})
        run.finish()
    (read,) = read_runs(tmp_path)
    assert read.folder == run.folder
    assert read.folder.name.startswith("offline-run-")
    assert read.summary["note"] == "later"


@pytest.mark.parametrize("fault", ["hang", "401", "500"])
def test_a_server_that_fails_costs_time_once(tmp_path, stand_in, monkeypatch, fault):
    """The run, and all later ones of the command, are offline; nothing is lost."""
    monkeypatch.setattr(run_module, "TIMEOUT", 1.0)
    stand_in.fault = fault
    destination = Destination(tmp_path, "online")
    run = begin_run(destination)
    run.log({"step": 1})
    run.finish()
    assert not run.failed
    assert destination.failure
    before = time.monotonic()
    other = begin_run(Destination(tmp_path, "online"))
    other.finish()
    assert time.monotonic() - before < 0.9
    assert [read.folder.name[:12] for read in read_runs(tmp_path)] == ["offline-run-"] * 2


def test_a_server_that_answers_and_takes_no_run_ends_nothing(tmp_path, stand_in, monkeypatch):
    monkeypatch.setattr(run_module, "TIMEOUT", 1.0)
    monkeypatch.setattr(stand_in, "hang_runs", True)
    destination = Destination(tmp_path, "online")
    assert begin_run(destination) is None
    assert destination.current_mode == "offline"


def test_a_server_that_hangs_at_the_end_costs_time_once(tmp_path, stand_in, monkeypatch):
    monkeypatch.setattr(run_module, "TIMEOUT", 1.0)
    destination = Destination(tmp_path, "online")
    run = begin_run(destination)
    stand_in.hang_uploads = True
    run.log({"step": 1})
    before = time.monotonic()
    run.finish()
    assert time.monotonic() - before < 4
    assert run.failed
    assert destination.current_mode == "offline"
