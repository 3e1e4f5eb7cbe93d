"""`capsbench clean`: what is listed, what is removed, and what stays."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from capsbench.environment.failure_kinds import Failure
from capsbench.files.lease import lease, try_lease
from capsbench.records import BenchmarkFolder, BenchmarkRecord, CellFolder, FailureRecord
from capsbench.records.cleaning import KINDS
from tests.records.search_records import search_record

ABANDONED = ".benchmark.json.0123456789ab-1-1.1.tmp"  # of a process of another machine
DAY = 86_400


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The user's cache folder, with compiled code in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code = tmp_path / "cache/capsbench/libraries/code.so"
    code.parent.mkdir(parents=True)
    code.write_bytes(b"code")
    return code


@pytest.fixture
def messy(cells):
    """Both finished cells, and one removable thing of each kind; its files by kind."""
    small, smaller = (CellFolder(cells[label]) for label in ("small", "smaller"))
    failed = CellFolder(small.path.with_name("7-0123456789ab"))
    unlisted = CellFolder(small.path.with_name("8-0123456789ab"))
    for cell in (failed, unlisted):
        shutil.copytree(small.path, cell.path)
    failed.training.unlink()
    failure = Failure("user code", "it failed", "Traceback")
    FailureRecord.now(failure, cell=failed.path.name, job="train").save(failed.failure)
    path = BenchmarkFolder(Path("runs/tiny")).record
    record = BenchmarkRecord.load(path)
    place = failed.path.relative_to("runs").as_posix()
    listed = record.cells[0].model_copy(update={"path": place, "seed": 7})
    record.model_copy(update={"cells": (*record.cells, listed)}).save(path)
    failed.state.write_bytes(b"unfinished")
    smaller.state.write_bytes(b"finished")
    profile = small.profile / "trace.json.gz"
    profile.parent.mkdir()
    profile.write_bytes(b"profile")
    abandoned = path.with_name(ABANDONED)
    abandoned.write_bytes(b"{")
    os.utime(abandoned, (1, 1))
    lock = small.path / ".lock"  # of earlier versions
    lock.touch()
    for log in (small.log, smaller.log, unlisted.log):
        log.write_text("lines", "utf-8")
    sent = Path("runs/wandb/offline-run-20261130_120000-0123456789ab")
    waiting = sent.with_name("offline-run-20261130_120001-0123456789ac")
    for run in (sent, waiting):
        run.mkdir(parents=True)
        (run / "run.wandb").write_bytes(b"log")
    (sent / "run.wandb.synced").touch()
    return {
        "leftovers": {smaller.state, abandoned, lock},
        "states": {failed.state},
        "failed": {failed.path},
        "unlisted": {unlisted.path},
        "profiles": {profile},
        "synced": {sent},
        "logs": {small.log, smaller.log, unlisted.log, BenchmarkFolder(path.parent).log},
    }


def files(folder):
    return {path for path in Path(folder).rglob("*") if path.is_file() or path.is_symlink()}


def test_everything_is_listed_and_nothing_is_removed(cli, messy, cache):
    before = files(".")
    code, out, err = cli("clean")
    assert (code, err) == (0, "")
    assert [kind for kind in KINDS if kind not in out] == []
    code, rows, err = cli("clean", "runs", "--json")
    assert (code, err) == (0, "")
    assert {row["kind"] for row in rows} == set(KINDS)
    assert not any(row["removed"] for row in rows)
    assert all(row["bytes"] > 0 for row in rows if row["kind"] != "leftovers")
    for kind in KINDS:
        code, out, err = cli("clean", f"--{kind}")
        assert (code, err) == (0, "")
        assert "--yes" in out and "removed 1" not in out
    assert files(".") == before
    assert cache.is_file()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "caches"])
def test_a_kind_is_removed_and_nothing_else(cli, messy, cache, kind):
    before = files(".")
    code, out, err = cli("clean", f"--{kind}", "--yes")
    assert (code, err) == (0, "")
    assert "removed" in out
    gone = before - files(".")
    places = {
        path for path in messy[kind] if path in before or kind in ("failed", "unlisted", "synced")
    }
    assert gone and {path for path in gone if not {path, *path.parents} & places} == set()
    assert [path for path in places if path.exists()] == []
    assert files(".") <= before  # no lease is left
    code, out, _ = cli("clean", f"--{kind}", "--yes")
    assert (code, "nothing to remove" in out) == (0, True)


def test_caches_are_removed_without_a_runs_folder(cli, tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("clean", "--caches", "--yes")
    assert (code, err) == (0, "")
    assert not cache.parent.exists() and cache.parents[1].is_dir()


def test_a_terminal_answers(cli, messy, monkeypatch):
    before = files("runs")
    (failed,) = messy["failed"]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer in (False, True):
        monkeypatch.setattr("typer.confirm", lambda *_, answer=answer: answer)
        assert cli("clean", "--states")[0] == 0
        assert (before - files("runs")) == (messy["states"] if answer else set())
    held: list[Any] = []

    def confirm(*_):
        held.append(try_lease(CellFolder(failed).lease, "training"))  # while the question waits
        return True

    monkeypatch.setattr("typer.confirm", confirm)
    assert cli("clean", "--failed")[0] == 0
    held[0].release()
    assert failed.is_dir()


def test_files_of_others_and_links_stay(cli, messy, tmp_path):
    (unlisted,), (failed,) = messy["unlisted"], messy["failed"]
    notes = unlisted / "measures" / "notes.txt"
    notes.write_text("mine", "utf-8")
    outside = tmp_path / "outside"
    shutil.move(unlisted / "checkpoints", outside)
    (unlisted / "checkpoints").symlink_to(outside)
    shutil.move(failed, tmp_path / failed.name)
    failed.symlink_to(tmp_path / failed.name)
    linked = files(outside) | files(tmp_path / failed.name)
    code, _, err = cli("clean", *(f"--{kind}" for kind in KINDS), "--yes")
    assert (code, err) == (0, "")
    assert notes.is_file() and not (unlisted / "config.json").exists()
    assert (unlisted / "checkpoints").is_symlink()
    assert files(outside) | files(tmp_path / failed.name) == linked


def test_a_folder_that_is_none_of_runs_loses_nothing(cli, tmp_path):
    file = tmp_path / "home" / ".settings.json.123.tmp"  # of another program
    file.parent.mkdir()
    file.touch()
    os.utime(file, (0, 0))
    code, rows, _ = cli("clean", str(file.parent), "--leftovers", "--yes", "--json")
    assert (code, rows) == (0, [])
    assert file.exists()


def test_what_a_live_process_holds_stays(cli, messy):
    (unlisted,), (failed,) = messy["unlisted"], messy["failed"]
    before = files("runs")
    with lease(CellFolder(failed).lease, "training"):
        code, rows, _ = cli("clean", "--failed", "--states", "--unlisted", "--yes", "--json")
        assert (code, rows) == (0, [])  # a search lists its trials only at its end
        code, rows, _ = cli("clean", "--leftovers", "--yes", "--json")
        assert len(rows) == 3 and all(row["removed"] for row in rows)
    assert before - files("runs") == messy["leftovers"]
    assert unlisted.is_dir()


def test_a_cell_that_is_taken_meanwhile_stays(cli, messy, monkeypatch):
    monkeypatch.setattr("capsbench.records.cleaning.try_lease", lambda *_: None)
    before = files("runs")
    code, out, _ = cli("clean", "--failed", "--yes")
    assert code == 0
    assert "removed 0 of 1" in out and "using it" in out
    assert files("runs") == before


def test_a_trial_of_a_search_is_listed(cli, messy):
    (unlisted,) = messy["unlisted"]
    path = BenchmarkFolder(Path("runs/tiny")).record
    record = BenchmarkRecord.load(path)
    search = search_record(record.benchmark, {"small": (0.5,)})
    (trial,) = search.trials
    path_of_run = unlisted.relative_to("runs").as_posix()
    first, *others = trial.runs
    runs = (first.model_copy(update={"path": path_of_run}), *others)
    trial = trial.model_copy(update={"runs": runs})
    search = search.model_copy(update={"trials": (trial,)})
    record.model_copy(update={"search": search}).save(path)
    assert cli("clean", "--unlisted", "--json")[1] == []
    path.write_text("[]", "utf-8")
    code, out, err = cli("clean", "--unlisted", "--yes")
    assert (code, out) == (2, "")
    assert str(path) in err
    assert unlisted.is_dir()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), ("nothing", "not a folder")),
        (("--yes",), ("--yes", "--leftovers")),
        (("--everything",), ("--everything",)),
    ],
    ids=["absent", "no kind", "unknown kind"],
)
def test_bad_input_is_refused_in_one_line(refusal, cells, arguments, words):
    message = refusal("clean", *arguments)
    assert [word for word in words if word not in message] == []
