"""README.md: its Python runs, its commands and links exist, its numbers come from the records."""

import re
import shlex
from pathlib import Path

import pytest

from capsbench.cli import main
from capsbench.reporting.exports.export import load_export
from capsbench.reporting.tables.split_table import split_table
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
    splits = split_table(recorded("toynorb-azimuth"))
    assert splits is not None
    named = [0, 1, 2, 4]  # all but the CNN of the matrix capsules' size
    cells += [cell for row in named for cell in splits.rows[row].cells[1:3]]
    assert len(cells) == 14
    text = " ".join(README.split())
    for cell in cells:
        assert isinstance(cell, TableCell)
        assert cell.text in text
