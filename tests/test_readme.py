"""The README's Python is run as it stands, and its commands exist."""

import re
import shlex
from pathlib import Path

import pytest

from capsbench.cli import main
from capsbench.reporting.export import read_export
from capsbench.reporting.split_table import split_table
from capsbench.reporting.tables import summary

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = re.findall(r"^capsbench .*$", README, flags=re.MULTILINE)


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_the_example_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.sub(r"steps=\d+", "steps=3", PYTHON[number])
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_there_is_something_to_check():
    assert PYTHON
    assert len(COMMANDS) > 5


@pytest.mark.parametrize("line", COMMANDS)
def test_options_of_commands_exist(line, capsys):
    words = shlex.split(line, comments=True)[1:]
    if words[0] == "--version":
        return
    main([words[0], "--help"])
    described = capsys.readouterr().out
    for word in words[1:]:
        if word.startswith("--"):
            assert word in described, word


@pytest.mark.parametrize("path", dict.fromkeys(re.findall(r"\]\((?!https?:)([^)#]+)\)", README)))
def test_what_it_links_to_is_there(path):
    assert (Path(__file__).parents[1] / path).is_file()


def recorded(benchmark):
    (path,) = (Path(__file__).parents[1] / "results" / benchmark).glob("full-*.json")
    return read_export(path).results


def test_its_numbers_are_those_of_the_records():
    found = [
        row.entries[kind] for row in summary(recorded("quick")) for kind in ("familiar", "novel")
    ]
    splits = split_table(recorded("toynorb-azimuth"))
    assert splits is not None
    named = [0, 1, 2, 4]  # all but the CNN of the matrix capsules' size
    found += [entry for row in named for entry in splits.rows[row][2][:2]]
    assert len(found) == 14
    for entry in found:
        assert entry is not None
        assert entry.mean in README
