"""``capsbench bench``: output and files, on the smallest group."""

import shlex
from pathlib import Path

import pytest

from capsbench.cli.bench import complete_group
from capsbench.speed.groups import GROUPS, startup
from capsbench.speed.record import SpeedRecord

KEYS = {
    "name",
    "group",
    "comparison",
    "row",
    "baseline",
    "median_ms",
    "min_ms",
    "p10_ms",
    "p90_ms",
    "ratio",
    "ratio_p10",
    "ratio_p90",
    "rounds",
    "peak_bytes",
    "percent_of_matmul",
    "percent_of_copy",
    "not_measured",
}


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """Keep two commands of the group, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("a finished benchmark", "a whole run"):
        monkeypatch.delitem(startup.COMPARISONS, name)
    for name in list(startup.COMMANDS)[2:]:
        monkeypatch.delitem(startup.COMMANDS, name)


def test_json_has_the_machine_and_each_row(cli):
    code, record, err = cli("bench", "startup", "--repeats", "2", "--json")
    assert (code, err) == (0, "")
    assert {"provenance", "device", "cpu", "threads", "settings"} <= record["machine"].keys()
    baseline, row = record["rows"]
    assert KEYS <= baseline.keys() == row.keys()
    assert row["name"].endswith(": python -c 'import capsbench'")
    assert baseline["name"].endswith(": python -c pass")
    assert row["baseline"] == baseline["name"]
    assert (baseline["ratio"], baseline["rounds"], row["rounds"]) == (1.0, 2, 2)
    assert row["group"] == "startup"
    assert row["median_ms"] > 0 and row["ratio"] > 0
    assert row["not_measured"] is None
    folder = Path("runs/bench")
    assert SpeedRecord.load(folder / "bench.json").model_dump(mode="json") == record
    assert b"<svg" in (folder / "bench.svg").read_bytes()


def test_tables_of_the_terminal(cli):
    code, text, err = cli("bench", "startup", "--repeats", "1", "--output", "here")
    assert (code, err) == (0, "")
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0].startswith("processor ")
    assert "startup: start of a process" in lines
    (row,) = (line for line in lines if line.startswith("python -c pass"))
    assert row.split()[-1] == "1.00"
    assert "here/bench.json" in lines[-1]
    assert "here/bench.svg" in lines[-1]
    assert sorted(path.name for path in Path("here").iterdir()) == ["bench.json", "bench.svg"]


def test_groups_are_measured_once_in_the_requested_order(cli, monkeypatch):
    measured = []

    def no_comparisons(group, device):
        measured.append((group, device))
        return []

    monkeypatch.setattr("capsbench.speed.bench.comparisons_of", no_comparisons)
    monkeypatch.setattr("capsbench.speed.figure.ratios_figure", _no_figure)
    cli("bench", "sweep", "data", "sweep", "--device", "cpu", "--json")
    assert measured == [("sweep", "cpu"), ("data", "cpu")]
    measured.clear()
    cli("bench", "--device", "cpu", "--json")
    assert [group for group, _ in measured] == [name for name in GROUPS if name != "executors"]


def _no_figure(results):
    from matplotlib.figure import Figure

    assert results == ()
    return Figure()


@pytest.mark.parametrize(
    ("line", "key_words"),
    {
        "bench routng": ("'routng'", "did you mean 'routing'"),
        "bench startup zzz": ("'zzz'", "known: 'data', 'executors', "),
        "bench startup --repeats 0": ("'--repeats'",),
        "bench startup --device mps": ("'mps'", "'auto', 'cpu', 'cuda'"),
        "bench startup --output file": ("cannot write", "'file' is a file"),
        "bench startup --device cuda": ("'cuda'", "available: cpu"),
    }.items(),
)
def test_bad_input_is_refused(refusal, monkeypatch, line, key_words):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    Path("file").write_text("", encoding="utf-8")
    message = refusal(*shlex.split(line))
    assert [word for word in key_words if word not in message] == []
    assert [path.name for path in Path.cwd().rglob("*")] == ["file"]


def test_ctrl_c(cli, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("capsbench.speed.bench.measure_comparison", interrupt)
    code, _, err = cli("bench", "startup")
    assert code == 130 and "nothing was written" in err
    assert list(Path.cwd().rglob("*")) == []


def test_shell_completion_of_groups():
    assert complete_group("s") == ["step", "sweep", "startup"]
