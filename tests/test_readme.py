"""README.md: its Python runs, its commands and links exist, its numbers come from the records."""

import re
import shlex
from pathlib import Path
from statistics import fmean

import pytest

from capsbench.cli import main
from capsbench.reporting.exports.claims_export import load_claims_export
from capsbench.reporting.exports.export import load_export
from capsbench.reporting.tables.summary_table import summary_table
from capsbench.reporting.tables.table import TableCell

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = re.findall(r"^capsbench .*$", README, flags=re.MULTILINE)
TARGETS = re.findall(r"^make ([\w-]+)", README, flags=re.MULTILINE)


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.sub(r"steps=\d+", "steps=3", PYTHON[number])
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_blocks_are_not_empty():
    assert PYTHON
    assert len(COMMANDS) > 5


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert TARGETS == ["quick", "install-dev", "test", "full", "bench"]
    for target in TARGETS:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("line", COMMANDS)
def test_options_of_commands_exist(line, capsys):
    words = shlex.split(line, comments=True)[1:]
    main([words[0], "--help"])
    help_text = capsys.readouterr().out
    for word in words[1:]:
        if word.startswith("--"):
            assert word in help_text, word


def test_global_option_exists(capsys):
    main(["--help"])
    assert "--no-process-setup" in README
    assert "--no-process-setup" in capsys.readouterr().out


@pytest.mark.parametrize("path", dict.fromkeys(re.findall(r"\]\((?!https?:)([^)#]+)\)", README)))
def test_links_exist(path):
    assert (ROOT / path).is_file()


def recorded(benchmark):
    (path,) = (ROOT / "results" / benchmark).glob("full-*.json")
    return load_export(path).results


def test_numbers_are_those_of_the_records():
    cells = [cell for row in summary_table(recorded("quick")).rows for cell in row.cells[1:3]]
    assert len(cells) == 6
    text = " ".join(README.split())
    for cell in cells:
        assert isinstance(cell, TableCell)
        assert cell.text in text


def test_accuracies_on_toys_are_those_of_the_claims():
    (path,) = (ROOT / "results" / "claims").glob("cpu-*.json")
    values: dict[str, dict[str, tuple[float, ...]]] = {}
    for claim in load_claims_export(path).judged:
        for judged in claim.tests:
            test = judged.test
            if (test.part, test.measure) == ("toynorb", "accuracy-by-split"):
                split = str(test.quantity.split)
                values.setdefault(test.model, {})[split] = judged.values[0]
                values.setdefault(test.against, {})[split] = judged.values[1]
    text = " ".join(README.split())
    for label in ("CapsNet (dynamic routing)", "Matrix capsules (EM routing)"):
        assert all(f"{100 * fmean(values[label][s]):.1f}" in text for s in ("familiar", "novel"))
    of_operations = values["CNN of CapsNet's operations"]
    familiar, novel = (100 * fmean(of_operations[split]) for split in ("familiar", "novel"))
    assert f"{familiar:.1f} and {novel:.1f} %" in text
    others = [
        each
        for label, by_split in values.items()
        if label.startswith("CNN") and label != "CNN of CapsNet's operations"
        for each in by_split["familiar"]
    ]
    assert f"between {100 * min(others):.0f} % (chance) and {100 * max(others):.0f} %" in text
