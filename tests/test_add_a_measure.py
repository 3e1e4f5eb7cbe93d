"""docs/add-a-measure.md is executed: files are written, commands run, the name installed."""

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from capsbench.cli import main
from capsbench.records.cell_files import load_arrays

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "add-a-measure.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
# A block that begins with a comment is the file that it names.
FILES = {block.partition("\n")[0].removeprefix("# "): block for block in BLOCKS if block[0] == "#"}
COMMANDS = [line for b in BLOCKS if b.startswith("capsbench ") for line in b.splitlines()]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("mirror.py", "tiny.yaml"):
        (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def capsbench(line, *options):
    words = shlex.split(line)[1:]
    (cell,) = list(Path().glob(words[1])) if "*" in words[1] else [words[1]]
    assert main([words[0], str(cell), *words[2:], *options]) == 0


def test_the_blocks_of_the_page():
    assert list(FILES) == ["mirror.py", "tiny.yaml", "pyproject.toml", "mypackage/pyproject.toml"]
    assert [line.split()[1] for line in COMMANDS] == ["show", "run", "measure"]
    assert len(FILES) + len(COMMANDS) == len(BLOCKS)


def test_a_measure_in_a_file(folder, capsys):
    show, run, measure = COMMANDS
    capsbench(show)
    text = capsys.readouterr().out
    assert "(measure)" in text
    assert "mirror_consistency" in text
    assert "splits" in text
    capsbench(run, "--device", "cpu", "--wandb", "off")
    page = (folder / "runs/tiny/report/index.html").read_text(encoding="utf-8")
    assert "mirror" in page.lower()
    (record,) = folder.glob("runs/digits/cnn-small/0-*/measures/Mirror-*.json")
    (row,) = json.loads(record.read_text())["values"]
    assert (row["metric"], row["split"], row["n"]) == ("mirror_consistency", "familiar", 200)
    arrays = load_arrays(record.with_suffix(".npz"), None)
    assert row["value"] == np.mean(arrays["mirror_consistency[split=familiar]"])
    capsys.readouterr()
    capsbench(measure, "--json")
    (again,) = json.loads(capsys.readouterr().out)
    assert again["values"] == [row]


def test_files_are_named_relative_to_the_benchmark(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    options = ["--device", "cpu", "--wandb", "off", "--output", str(folder / "runs")]
    assert main(["run", f"{folder.name}/tiny.yaml", *options]) == 0
    monkeypatch.chdir(folder / "runs")
    assert main(["report", "--output", "."]) == 0
    with Path("tiny/report/results.csv").open(newline="") as stream:
        measures = {row["measure"] for row in csv.DictReader(stream)}
    assert measures == {"accuracy-by-split", "mirror.py:Mirror"}
    (folder / "mirror.py").unlink()
    assert main(["report", "--output", "."]) == 2
    message = capsys.readouterr().err
    assert "no file" in message
    assert "damaged" not in message


def test_a_changed_file_is_measured_again(folder):
    run = COMMANDS[1]
    capsbench(run, "--device", "cpu", "--wandb", "off")
    trained = next(folder.glob("runs/digits/cnn-small/0-*/training.json")).stat().st_mtime_ns
    text = FILES["mirror.py"].replace("flip(-1)", "flip(-2)")
    (folder / "mirror.py").write_text(text, encoding="utf-8")
    sys.modules.pop(next(name for name in sys.modules if name.startswith("capsbench_file_mirror")))
    capsbench(run, "--device", "cpu", "--wandb", "off")
    assert len(list(folder.glob("runs/digits/cnn-small/0-*/measures/Mirror-*.json"))) == 2
    (training,) = folder.glob("runs/digits/cnn-small/0-*/training.json")
    assert training.stat().st_mtime_ns == trained


def test_a_package_adds_a_name(new_package, folder, monkeypatch, capsys):
    source, packages = folder / "mypackage", folder / "packages"
    source.mkdir()
    (folder / "mirror.py").rename(source / "mirror.py")
    (source / "pyproject.toml").write_text(FILES["mypackage/pyproject.toml"], encoding="utf-8")
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    target = ["--disable-pip-version-check", "--target", str(packages), str(source)]
    subprocess.run([sys.executable, *pip, *target], check=True)
    monkeypatch.syspath_prepend(packages)
    assert main(["list", "measures"]) == 0
    assert "mirror" in capsys.readouterr().out
    assert main(["show", "mirror"]) == 0
    assert "mirror_consistency" in capsys.readouterr().out
    assert main(["show", "miror"]) == 2
    assert "did you mean 'mirror'" in capsys.readouterr().err
