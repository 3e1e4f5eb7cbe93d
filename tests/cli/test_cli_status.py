"""``capsbench status``: from any terminal, at any time."""

import re
from pathlib import Path

import pytest

from tests.records.runs_folder import (
    reference,
    write_benchmark,
    write_done,
    write_every_state,
    write_failed,
    write_running,
)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A runs folder with a cell in every state, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_every_state(Path("runs"))
    return Path("runs")


def test_the_default_folder(cli, runs):
    code, out, err = cli("status")
    assert (code, err) == (0, "")
    first, *lines = out.splitlines()
    assert "2 of 6 cells done" in first
    for text in ("1 running", "1 failed", "1 waiting", "1 diverged"):
        assert text in first
    (running,) = (line for line in lines if "train CNN, seed 2" in line)
    for text in ("cuda:1", "150 of 300", "12.5", "12.0 s", "accuracy 0.912", "1 min "):
        assert text in running
    (failed,) = (line for line in lines if "SIGKILL" in line)
    assert "CNN, seed 3" in failed
    assert str(runs / reference(3)["path"] / "log.txt") in out
    assert any("seed 4" in line and "137" in line for line in lines)
    assert "capsbench run quick --retry failed" in out


def test_a_named_folder_and_its_page(cli, runs):
    page = runs / "quick" / "report" / "index.html"
    page.parent.mkdir()
    page.write_text("", "utf-8")
    Path("elsewhere").mkdir()
    runs.rename("elsewhere/mine")
    _, out, _ = cli("status", "elsewhere/mine")
    assert str(Path("elsewhere/mine/quick/report/index.html")) in out


def test_json(cli, runs):
    _, content, _ = cli("status", "--json")
    assert content["runs"] == str(runs)
    assert content["counts"]["done"] == 2
    states = [cell["state"] for cell in content["benchmarks"][0]["cells"]]
    assert states == ["done", "done", "running", "failed", "diverged", "waiting"]


def test_claims_are_above_their_parts(cli, runs):
    write_benchmark(runs, [reference(0)], name="part-a", changes={"claims": "claims"})
    lines = cli("status")[1].splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("claims (claims)"))
    assert lines[place + 1].startswith("  part-a")


def test_a_cell_of_no_benchmark(cli, runs):
    write_running(runs, 7)
    _, out, _ = cli("status")
    assert "train CNN, seed 7" in out
    assert "no benchmark" in out


def test_an_empty_folder_says_how_to_begin(cli, tmp_path):
    code, out, _ = cli("status", str(tmp_path))
    assert code == 0
    assert "capsbench run quick" in out


def test_no_more_failures_than_fit(cli, tmp_path):
    write_benchmark(tmp_path, [reference(seed) for seed in range(30)])
    for seed in range(30):
        write_failed(tmp_path, seed)
    out = cli("status", str(tmp_path))[1]
    assert out.count("SIGKILL") == 20
    assert "10 failed cells more" in out


def test_what_is_refused(refusal, tmp_path):
    assert "runs folder" in refusal("status", str(tmp_path / "none"))
    assert "--json" in refusal("status", str(tmp_path), "--watch", "--json")


def test_watching_ends_when_nothing_is_left(cli, tmp_path, monkeypatch):
    """In a log file each change is a line."""
    write_benchmark(tmp_path, [reference(0), reference(1)])
    write_done(tmp_path, 0)
    monkeypatch.setattr("capsbench.cli.status.time.sleep", lambda _: write_failed(tmp_path, 1))
    code, out, _ = cli("status", str(tmp_path), "--watch")
    first, last = out.splitlines()
    assert code == 0
    assert "1 waiting" in first
    assert "1 failed" in last


def test_watching_in_a_terminal_ends_too(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    write_benchmark(tmp_path, [reference(0)])
    write_done(tmp_path, 0)
    code, out, _ = cli("status", str(tmp_path), "--watch")
    assert code == 0
    assert "cell done" in " ".join(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out).split())
