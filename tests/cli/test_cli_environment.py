"""Commands in odd surroundings: no encoding, no space, no reader, a signal; nothing is lost."""

import errno
import io
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from capsbench.cli import STOPPED, main

RUN = "run tiny.yaml --models small --seeds 0 --device cpu --wandb off"
ENCODINGS = ("ascii", "latin-1", "cp1252", "cp437", "utf-16")
# Files that a run writes, in their order.
WRITTEN = (
    "examples.npz",
    "benchmark.json",
    "config.json",
    "trajectory.csv",
    "state.ckpt",
    "validation",  # a folder of weights
    "training.json",
    "accuracy-by-view.json",
    "accuracy-by-view.npz",
    "results.csv",
    "index.html",
)
HASH = re.compile("-[0-9a-f]{12}")
QUICK = ("state.ckpt", "training.json")


@pytest.fixture
def encoded(monkeypatch):
    """Run the command line with streams of an encoding; return exit code and texts."""

    def call(line, encoding):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["capsbench", *line.split()])
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            code = main()
        return code, *(stream.buffer.getvalue().decode(encoding) for stream in streams)

    return call


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("line", ["list", "show rotations"])
def test_names_in_every_encoding(encoded, tiny, encoding, line):
    code, out, err = encoded(line, encoding)
    assert (code, err) == (0, "")
    assert out


@pytest.mark.parametrize(
    "line", [RUN, "report", "doctor", "show cnn-p4", "list --json", f"{RUN} --dry-run"]
)
def test_results_in_ascii(encoded, cells, line):
    code, out, err = encoded(line, "ascii")
    assert (code, err) == (0, "")
    if line == RUN:
        assert "10.0 %" in out  # with a no-break space elsewhere
    if "--json" in line:
        assert all(row["summary"] for row in json.loads(out))


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in WRITTEN],
)
def test_a_full_disk_and_the_next_run(cli, tiny, monkeypatch, name):
    methods = {"replace": Path.replace, "rename": Path.rename}
    failed: list[str] = []

    def fail_once(method):
        def put(self, target):
            if HASH.sub("", Path(target).name) == name and not failed:
                failed.append(name)
                raise OSError(errno.ENOSPC, "No space left on device")
            return methods[method](self, target)

        return put

    for method in methods:
        monkeypatch.setattr(Path, method, fail_once(method))
    code, _, message = cli(*RUN.split())
    assert failed == [name]
    assert (code, message.count("\n")) == (2, 1)
    for part in (Path(name).stem, "No space left on device", "free some space"):
        assert part in message
    assert list(Path("runs").rglob("*.tmp")) == []
    states = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("training.json")}
    code, out, err = cli(*RUN.split())
    assert (code, err) == (0, "")
    assert "page: " in out
    assert {path: path.stat().st_mtime_ns for path in states} == states  # not trained again


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried 9 GiB.")])
def test_too_little_memory(cli, tiny, monkeypatch, error):
    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("capsbench.models.cnn_small.CNNSmall.forward", fail)
        code, out, _ = cli(*RUN.split())
    assert code == 1  # a failure of the cell, which is recorded
    assert "memory" in out
    assert "--retry failed" in out


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_in_training_keeps_the_state(cli, tiny, monkeypatch, name):
    from capsbench.training.trajectory import Trajectory

    finish_step = Trajectory.on_train_batch_end

    def stop_after_a_step(self, trainer, *arguments):
        if trainer.global_step == 1:
            signal.raise_signal(getattr(signal, name))
        finish_step(self, trainer, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trajectory, "on_train_batch_end", stop_after_a_step)
        code, _, err = cli(*RUN.split())
    assert code == 128 + getattr(signal, name)
    assert err == f"stopped; {STOPPED['run']}\n"
    assert [cell["state"] for cell in cli(*RUN.split(), "--dry-run", "--json")[1]] == ["resumable"]
    assert cli(*RUN.split())[0] == 0


def test_a_signal_names_the_consequence_of_the_command_alone(cli, tiny, monkeypatch):
    monkeypatch.setattr(
        "capsbench.cli.variables.require_valid", lambda: signal.raise_signal(signal.SIGINT)
    )
    assert cli("report", "tiny", "--output", "run") == (130, "", "stopped\n")
    assert cli("--no-process-setup", "run", "tiny")[2] == f"stopped; {STOPPED['run']}\n"


def test_a_variable_that_is_no_number(cli, refusal, tiny, monkeypatch):
    monkeypatch.setenv("NODE_RANK", "abc")
    assert "NODE_RANK to 'abc'" in refusal(*RUN.split())
    assert cli("list", "models")[0] == 0


@pytest.mark.parametrize("folder", ["a::b", "a 'b\" % # \n\u2603"])
def test_odd_names_of_folders(cli, tiny, folder):
    code, _, err = cli(*RUN.split(), "--output", folder)
    assert (code, err) == (0, "")
    assert Path(folder, "tiny", "report", "index.html").is_file()
    page = Path(folder, "tiny", "report", "index.html")
    page.unlink()
    assert cli("report", "--output", folder)[0] == 0
    assert page.is_file()


def test_a_folder_whose_name_is_no_text(refusal, tiny):
    message = refusal(*RUN.split(), "--output", os.fsdecode(b"runs\xff"))
    assert r"runs\udcff" in message
    assert "UTF-8" in message
