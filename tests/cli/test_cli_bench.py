"""``capsbench bench``: what it prints and writes, on the one group that is small as it is."""

import json
import shlex
from pathlib import Path

import pytest

from capsbench.cli.bench import complete_group
from capsbench.speed.groups import GROUPS, startup

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
    """One process beside the baseline, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in list(startup.COMMANDS)[2:]:
        monkeypatch.delitem(startup.COMMANDS, name)


def test_json_has_an_entry_for_each_row_and_the_machine(cli):
    code, found, err = cli("bench", "startup", "--repeats", "2", "--json")
    assert (code, err) == (0, "")
    assert {"versions", "date", "device", "cpu", "threads", "settings"} <= found["machine"].keys()
    baseline, row = found["rows"]
    assert KEYS <= baseline.keys() == row.keys()
    assert row["name"] == "start of a process: python -c 'import capsbench'"
    assert row["baseline"] == baseline["name"] == "start of a process: python -c pass"
    assert (baseline["ratio"], baseline["rounds"], row["rounds"]) == (1.0, 2, 2)
    assert row["group"] == "startup"
    assert row["median_ms"] > 0 and row["ratio"] > 0
    assert row["not_measured"] is None
    folder = Path("runs/bench")
    assert json.loads((folder / "bench.json").read_text(encoding="utf-8")) == found
    assert b"<svg" in (folder / "bench.svg").read_bytes()


def test_tables_of_the_terminal(cli):
    code, text, err = cli("bench", "startup", "--repeats", "1", "--output", "here")
    assert (code, err) == (0, "")
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0].startswith("processor ")
    assert "startup: start of a process" in lines
    (row,) = (line for line in lines if line.startswith("python -c pass"))
    assert row.split()[-1] == "1.00"
    assert lines[-1] == "written: here/bench.json, here/bench.svg"
    assert sorted(path.name for path in Path("here").iterdir()) == ["bench.json", "bench.svg"]


def test_groups_come_once_and_in_the_order_given(cli, monkeypatch):
    carried = []

    def none_of(group, device):
        carried.append((group, device))
        return []

    monkeypatch.setattr("capsbench.speed.bench.comparisons_of", none_of)
    monkeypatch.setattr("capsbench.speed.figure.ratios_figure", _no_figure)
    cli("bench", "sweep", "data", "sweep", "--device", "cpu", "--json")
    assert carried == [("sweep", "cpu"), ("data", "cpu")]
    carried.clear()
    cli("bench", "--device", "cpu", "--json")
    assert [group for group, _ in carried] == list(GROUPS)


def _no_figure(results):
    from matplotlib.figure import Figure

    assert results == []
    return Figure()


@pytest.mark.parametrize(
    ("line", "sentence"),
    {
        "bench routng": "unknown group 'routng'; did you mean 'routing'?",
        "bench startup zzz": "unknown group 'zzz'; known: 'data', 'routing', ",
        "bench startup --repeats 0": "'--repeats'",
        "bench startup --device mps": "'mps' is not one of 'auto', 'cpu', 'cuda'",
        "bench startup --output file": "cannot write in 'file': 'file' is a file",
        "bench startup --device cuda": "device 'cuda' is not available here; available: cpu",
    }.items(),
)
def test_bad_input_is_told_in_one_sentence(cli, monkeypatch, line, sentence):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    Path("file").write_text("", encoding="utf-8")
    code, out, err = cli(*shlex.split(line))
    assert (code, out) == (2, "")
    assert err.startswith("capsbench: error: ") and err.count("\n") == 1
    assert sentence in err
    assert [path.name for path in Path.cwd().rglob("*")] == ["file"]


def test_ctrl_c(cli, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("capsbench.speed.bench.carry_out", interrupt)
    code, _, err = cli("bench", "startup")
    assert (code, err) == (130, "stopped; nothing was written\n")
    assert list(Path.cwd().rglob("*")) == []


def test_the_shell_completes_groups():
    assert complete_group("s") == ["step", "sweep", "startup"]
