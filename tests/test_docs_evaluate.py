"""docs/evaluate.md is executed: the network is trained elsewhere, and joins a page."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from capsbench.cli import main
from capsbench.records import load_results
from capsbench.reporting import report
from capsbench.running.state_dict import PLACES

PAGE = (Path(__file__).parents[1] / "docs" / "evaluate.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
# A block that begins with a comment is the file that it names.
FILES = {block.partition("\n")[0].removeprefix("# "): block for block in BLOCKS if block[0] == "#"}
COMMANDS = [line for b in BLOCKS if b.startswith("capsbench ") for line in b.splitlines()]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("net.py", "train.py"):
        (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_page_is_executed(folder, capsys, monkeypatch):
    runpy.run_path("train.py")
    printed, joined = COMMANDS
    for command in (printed, joined):
        assert main([*shlex.split(command)[1:], "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert text.count("familiar accuracy") > 1
    assert "index.html" in text
    (script,) = (block for block in BLOCKS if block.startswith("import torch\n"))
    monkeypatch.setattr(report, "build", lambda _: "one page is enough")
    exec(compile(script, "script", "exec"), {})
    results = load_results(folder / "runs" / "quick")
    first, second = results.cells
    assert (first.label, second.label) == ("my network", "from memory")
    numbers = [[v.value for v in c.measures["accuracy-by-view"].values] for c in (first, second)]
    assert numbers[0] == numbers[1]
    assert max(numbers[0]) > 0.5
    names = {path.name for path in first.folder.path.iterdir()}
    assert {"weights.json", "measures"} <= names


def test_the_names_of_the_page_exist(capsys):
    for place in PLACES:
        assert f"`{place}`" in PAGE
    spans = re.findall(r"`(?:capsbench (\w+) )?(--[a-z-]+)[^`]*`", PAGE)
    assert len(spans) > 5
    options = {}
    for command in ("evaluate", "run", *{command for command, _ in spans if command}):
        assert main([command, "--help"]) == 0
        options[command] = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    options[""] = options["evaluate"] | {"--scale"} & options["run"]
    assert [each for each in spans if each[1] not in options[each[0]]] == []
