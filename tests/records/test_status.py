"""The state of every cell, from few small files."""

import builtins
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from capsbench.errors import UserError
from capsbench.files.processes import this_process
from capsbench.records.status import read_status
from capsbench.records.status_json import as_plain
from tests.records.runs_folder import (
    MEASURES,
    PRINT,
    PROGRESS,
    hold,
    reference,
    write_benchmark,
    write_cell,
    write_diverged,
    write_done,
    write_every_state,
    write_failed,
    write_running,
)

ACCURACY, COST = MEASURES.values()


def states(runs, benchmark=0):
    return [cell.state for cell in read_status(runs).benchmarks[benchmark].cells]


def test_every_state(tmp_path):
    write_every_state(tmp_path)
    assert states(tmp_path) == ["done", "done", "running", "failed", "diverged", "waiting"]
    (benchmark,) = read_status(tmp_path).benchmarks
    running, failed, diverged = benchmark.cells[2:5]
    (job,) = running.jobs
    assert (job.task, job.place) == ("train CNN, seed 2", f"{os.uname().nodename}, cuda:1")
    assert (job.step, job.steps, job.seconds_left) == (150, 300, 12)
    assert failed.failure is not None
    assert "SIGKILL" in failed.failure.reason
    assert diverged.diverged_at == 137
    assert read_status(tmp_path).counts == {
        "running": 1, "failed": 1, "waiting": 1, "diverged": 1, "done": 2
    }  # fmt: skip
    assert not read_status(tmp_path).is_finished


def test_a_cell_is_done_with_its_last_measure(tmp_path):
    write_benchmark(tmp_path, [reference(0)])
    folder = write_cell(tmp_path, 0, trained=True, measures=(ACCURACY,))
    assert states(tmp_path) == ["waiting"]
    assert read_status(tmp_path).benchmarks[0].cells[0].trained
    hold(folder.measure_lease(COST), "measure CNN, seed 0: cost", step=3, steps=10)
    assert states(tmp_path) == ["running"]
    folder.measure_lease(COST).unlink()
    folder.measure(COST).write_text("{}", "utf-8")
    assert states(tmp_path) == ["done"]
    assert read_status(tmp_path).is_finished


def test_a_finished_training_without_measures_is_done(tmp_path):
    write_benchmark(tmp_path, [reference(seed, measures={}) for seed in range(2)])
    write_cell(tmp_path, 0, trained=True)
    write_diverged(tmp_path, 1)
    assert states(tmp_path) == ["done", "diverged"]


def test_measures_without_the_record_of_the_training_are_not_done(tmp_path):
    write_benchmark(tmp_path, [reference(0)])
    write_done(tmp_path, 0).training.unlink()
    assert states(tmp_path) == ["waiting"]


def test_the_lease_of_a_dead_process_counts_for_nothing(tmp_path):
    write_benchmark(tmp_path, [reference(0)])
    folder = write_cell(tmp_path, 0)
    folder.state.write_bytes(b"")
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    owner = replace(this_process(), pid=int(dead.stdout))
    hold(folder.lease, "train", owner=str(owner))
    assert states(tmp_path) == ["waiting"]
    assert read_status(tmp_path).benchmarks[0].cells[0].resumable


def test_a_failed_cell_that_runs_again_is_running(tmp_path):
    write_benchmark(tmp_path, [reference(0)])
    hold(write_failed(tmp_path, 0).lease, "train CNN, seed 0")
    assert states(tmp_path) == ["running"]


def test_a_failure_of_another_benchmark_leaves_a_finished_cell_done(tmp_path):
    write_benchmark(tmp_path, [reference(0, measures={"cost": COST})], name="costs")
    write_benchmark(tmp_path, [reference(0)])
    folder = write_failed(tmp_path, 0)
    folder.training.write_text('{"status": "trained"}', "utf-8")
    folder.measure(COST).parent.mkdir()
    folder.measure(COST).write_text("{}", "utf-8")
    assert [states(tmp_path, 0), states(tmp_path, 1)] == [["done"], ["failed"]]
    counts = read_status(tmp_path).counts
    assert (counts["failed"], counts["done"]) == (1, 0)  # the cell of both counts once


def test_models_that_were_trained_elsewhere(tmp_path):
    path = f"digits/net/elsewhere-{PRINT}"
    write_benchmark(tmp_path, [reference(0, path=path) | {"seed": None}])
    assert states(tmp_path) == ["waiting"]
    folder = tmp_path / path
    folder.mkdir(parents=True)
    (folder / "weights.json").write_text("{}", "utf-8")
    (folder / "measures").mkdir()
    for name in MEASURES.values():
        (folder / "measures" / f"{name}.json").write_text("{}", "utf-8")
    assert states(tmp_path) == ["done"]


def test_running_and_failed_cells_of_no_benchmark_are_listed(tmp_path):
    """Such are the trials of a search in progress, and measures of a command."""
    write_benchmark(tmp_path, [reference(0)])
    write_done(tmp_path, 0)
    write_done(tmp_path, 1)
    write_running(tmp_path, 2)
    write_failed(tmp_path, 3)
    hold(write_done(tmp_path, 4).measure_lease(f"calibration-{PRINT}"), "measure")
    others = read_status(tmp_path).benchmarks[-1]
    assert others.name == ""
    assert [(cell.seed, cell.state) for cell in others.cells] == [
        (2, "running"), (3, "failed"), (4, "running")
    ]  # fmt: skip


def test_benchmarks_of_claims(tmp_path):
    write_benchmark(tmp_path, [reference(0)], name="part-a", changes={"claims": "claims"})
    write_done(tmp_path, 0)
    before = read_status(tmp_path)
    assert before.pages_of_claims == {"claims": None}
    assert [part.name for part in before.parts("claims")] == ["part-a"]
    page = tmp_path / "claims" / "report" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("", "utf-8")
    (tmp_path / "claims" / "claims.json").write_text("{}", "utf-8")
    assert read_status(tmp_path).pages_of_claims == {"claims": page}


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="runs folder"):
        read_status(tmp_path / "none")


def test_an_empty_folder_is_not_finished(tmp_path):
    assert read_status(tmp_path).benchmarks == ()
    assert not read_status(tmp_path).is_finished


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"cells": [{}], "command": ""}', '{"cells": 1, "command": ""}']
)
def test_a_damaged_benchmark_hides_no_other(tmp_path, content):
    write_benchmark(tmp_path, [reference(0)], name="other")
    write_benchmark(tmp_path, [], name="damaged")
    (tmp_path / "damaged" / "benchmark.json").write_text(content, "utf-8")
    damaged, other = read_status(tmp_path).benchmarks
    assert "damaged" in str(damaged.problem)
    assert (damaged.cells, other.counts["waiting"]) == ((), 1)


def test_a_path_out_of_the_folder_is_not_followed(tmp_path):
    write_benchmark(tmp_path, [reference(0, path="../../secret")])
    assert read_status(tmp_path).benchmarks[0].problem


def test_a_damaged_file_of_a_cell_is_a_failure_of_that_cell(tmp_path):
    write_benchmark(tmp_path, [reference(0), reference(1)])
    write_failed(tmp_path, 0).failure.write_text("{", "utf-8")
    write_done(tmp_path, 1)
    first, second = read_status(tmp_path).benchmarks[0].cells
    assert (first.state, second.state) == ("failed", "done")
    assert "failure.json" in str(first.problem)


def test_hostile_texts_of_a_lease_are_escaped(tmp_path):
    write_benchmark(tmp_path, [reference(0)])
    hold(write_cell(tmp_path, 0).lease, "\x1b[31mtrain", note="\x1b[2J", step="many", steps=2)
    (job,) = read_status(tmp_path).benchmarks[0].cells[0].jobs
    assert "\x1b" not in f"{job.task}{job.note}"
    assert (job.step, job.steps) == (None, 2)


def test_json_has_the_documented_keys(tmp_path):
    write_every_state(tmp_path)
    plain = as_plain(read_status(tmp_path))
    documented = str(as_plain.__doc__)
    benchmark = plain["benchmarks"][0]
    running, failed = benchmark["cells"][2:4]
    for part in (plain, benchmark, running, running["jobs"][0], failed["failure"]):
        assert all(f"``{key}``" in documented for key in part), part.keys()
    assert json.loads(json.dumps(plain, default=str))["counts"]["done"] == 2
    assert running["jobs"][0]["seconds_left"] == 12
    assert running["jobs"][0]["step"] == PROGRESS["step"]
    assert failed["failure"]["log"] == f"{failed['folder']}/log.txt"


def test_ten_thousand_cells_are_read_from_few_files(tmp_path, monkeypatch):
    """One listing of each folder, and no contents but of cells that need a look."""
    write_benchmark(tmp_path, [reference(seed) for seed in range(10_000)])
    write_done(tmp_path, 0)
    write_failed(tmp_path, 1)
    write_diverged(tmp_path, 2)
    write_running(tmp_path, 3)
    opened, listed = [], []
    read_bytes, open_, listdir = Path.read_bytes, os.open, os.listdir

    def count_open(path, *arguments, **options):
        opened.append(Path(path).name)
        return open_(path, *arguments, **options)

    def count_read(path):
        opened.append(path.name)
        return read_bytes(path)

    def count_listing(path):
        listed.append(path)
        return listdir(path)

    def refuse_open(*_):
        raise AssertionError("files are read by their own functions")

    monkeypatch.setattr(os, "listdir", count_listing)
    monkeypatch.setattr(os, "open", count_open)
    monkeypatch.setattr(Path, "read_bytes", count_read)
    monkeypatch.setattr(builtins, "open", refuse_open)
    read = read_status(tmp_path)
    monkeypatch.undo()
    assert read.counts == {"running": 1, "failed": 1, "waiting": 9996, "diverged": 1, "done": 1}
    assert sorted(opened) == [".lease", "benchmark.json", "failure.json", "training.json"]
    assert len(listed) <= 10_000 + 10
