"""Clearing of what killed processes left, and of nothing that a live process is writing."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import get_context

import pytest

from capsbench.files import atomic
from capsbench.files.lease import lease
from capsbench.files.leftovers import ABANDONED, clear_leftovers
from capsbench.files.processes import Process, this_process

WRITE = """
import sys
from pathlib import Path
from capsbench.files.atomic import write_file, write_folder
from capsbench.files.lease import lease
runs = Path(sys.argv[1])
with lease(runs / ".a.lease", "write"), write_file(runs / "a.json") as file:
    with write_folder(runs / "model") as folder:
        (folder / "weights").write_text("new")
        print("writing", flush=True)
        sys.stdin.readline()
        file.write(b"1")
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is in the middle of writing a file and a folder, until it reads a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def test_files_of_a_live_process_stay_and_those_of_a_killed_one_go(tmp_path, writer):
    clear_leftovers(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert len(before) == 3
    assert all(name.startswith((".a.json.", ".model.", ".a.lease")) for name in before)
    writer.kill()
    writer.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    clear_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_watched_ends_well(tmp_path, writer):
    clear_leftovers(tmp_path)
    writer.communicate("\n")
    assert writer.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "model"]


@pytest.mark.parametrize("owner", [f"{'f' * 12}-7-100.1", "4711"])  # another machine; unknown
def test_files_of_unknown_owners_go_after_a_day(tmp_path, owner):
    path = tmp_path / f".a.json.{owner}.tmp"
    path.touch()
    clear_leftovers(tmp_path)
    assert path.is_file()
    old = time.time() - ABANDONED - 60
    os.utime(path, (old, old))
    clear_leftovers(tmp_path)
    assert not path.exists()


def test_old_files_of_a_live_process_stay(tmp_path):
    path = atomic.temporary_path(tmp_path / "state.ckpt")
    path.touch()
    os.utime(path, (0, 0))
    clear_leftovers(tmp_path)
    assert path.is_file()


def test_names_are_never_shared(tmp_path):
    names = {atomic.temporary_path(tmp_path / "a.json").name for _ in range(10)}
    assert len(names) == 10
    matches = [match for name in names if (match := atomic.UNFINISHED.fullmatch(name))]
    assert [Process.parse(match["owner"]) for match in matches] == [this_process()] * 10


def test_the_successor_of_a_lease_goes_with_its_process(tmp_path):
    with lease(tmp_path / ".lease", "train") as held:
        dead = held.holder.model_copy(update={"owner": str(replace(this_process(), start=0))})
        (tmp_path / ".lease.0a").write_text(dead.model_dump_json())
        (tmp_path / ".lease.0b").write_text(held.holder.model_dump_json())
        clear_leftovers(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lease", ".lease.0b"]
        held.require_held()


def write_and_clear(folder, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        clear_leftovers(folder)
        atomic.write_json(folder / "a.json", 1)
        with atomic.write_folder(folder / f"model-{os.getpid()}") as made:
            (made / "weights").write_text("new")


def test_processes_that_write_and_clear_at_once_do_not_disturb_each_other(tmp_path):
    dead = replace(this_process(), start=0)
    for number in range(50):
        (tmp_path / f".model.{dead}.{number}.tmp" / "new").mkdir(parents=True)
    children = [
        get_context("fork").Process(target=write_and_clear, args=(tmp_path, 1.0)) for _ in range(3)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_that_is_absent_or_a_file_has_none(tmp_path):
    clear_leftovers(tmp_path / "absent")
    (tmp_path / "file").touch()
    clear_leftovers(tmp_path / "file")
