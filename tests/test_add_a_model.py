"""docs/add-a-model.md is executed: its files, its commands, and both ways of naming."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from capsbench.cli import main
from capsbench.names import find
from capsbench.wrapping.builder import CHANNELS, CLASSES, SHAPES, SIZES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "add-a-model.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
# A block that begins with a comment is a file, and the comment its name.
FILES = {block.partition("\n")[0].removeprefix("# "): block for block in BLOCKS if block[0] == "#"}
COMMANDS = [block.splitlines() for block in BLOCKS if block.startswith("capsbench ")]
# Importing torch takes most of the time: one process runs several commands.
SEVERAL = """
import shlex, sys
from capsbench.cli import main
from capsbench.names import find
sys.exit(max(main(shlex.split(line)[1:]) for line in sys.argv[1:]))
"""


def run(command, folder, packages):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(packages)}
    command = [sys.executable, *command]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def capsbench(line, *more):
    assert main([*shlex.split(line)[1:], *more]) == 0


def install(source, packages):
    """Install a package without a network, in a folder outside of the environment."""
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    run([*pip, "--disable-pip-version-check", "--target", str(packages), str(source)], source, "")


def test_the_page_lists_the_names_that_are_fitted():
    passage = PAGE.partition("* **Fitted:**")[2].partition("get the")[0]
    listed = re.findall(r"`(\w+)`", passage)
    assert listed == [*CLASSES, *CHANNELS, *SIZES, *SHAPES]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("mynet.py", "mymodel.py", "mycaps.py"):
        (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mymodel", None)


def test_the_page_has_the_expected_blocks():
    assert list(FILES) == [
        *("mynet.py", "mymodel.py", "mycaps.py", "tiny.yaml", "load.py"),
        *("pyproject.toml", "mypackage/pyproject.toml"),
    ]
    lines = [[line.split()[1] for line in lines] for lines in COMMANDS]
    assert lines == [
        *(["check", "run"], ["check"]),
        *(["check"], ["check"], ["run"], ["show", "check"], ["check"]),
    ]
    assert len(FILES) + len(COMMANDS) == len(BLOCKS)


def test_a_plain_network_is_checked_and_joins_a_benchmark(folder, capsys):
    (check, run_quick), (check_resnet,), *_ = COMMANDS
    capsbench(check)
    text = capsys.readouterr().out
    assert "num_classes=10, in_channels=1" in " ".join(text.split())
    assert " passed, 0 failed" in text
    line = run_quick.replace("+mynet", "CNN,+mynet")  # one of the benchmark's models is enough
    settings = ["--set", "recipe.steps=4", "--set", "recipe.evaluate_every=4", "--limit", "100"]
    capsbench(line, "--seeds", "0", *settings, "--device", "cpu", "--wandb", "off")
    page = (folder / "runs/quick/report/index.html").read_text(encoding="utf-8")
    assert "MyNet" in page
    assert find("models", shlex.split(check_resnet)[2]).load()


def test_a_file_is_checked_trained_and_loaded(folder, monkeypatch, capsys):
    for name in ("tiny.yaml", "load.py"):
        (folder / name).write_text(FILES[name], encoding="utf-8")
    _, _, (check,), (check_capsules,), (benchmark,), *_ = COMMANDS
    for line in (check, check_capsules):
        capsbench(line)
        assert " passed, 0 failed" in capsys.readouterr().out
    capsbench(benchmark, "--device", "cpu", "--wandb", "off")
    assert "MyModel" in (folder / "runs/tiny/report/index.html").read_text(encoding="utf-8")
    capsys.readouterr()
    monkeypatch.syspath_prepend(folder)
    runpy.run_path("load.py")
    assert "11498 weights" in capsys.readouterr().out
    (saved,) = folder.glob("runs/digits/MyModel/0-*/checkpoints/validation/README.md")
    card = saved.read_text(encoding="utf-8")
    assert str(folder) not in card  # no path of the machine
    assert all(f'"{fact}": ' in card for fact in ("seed", "commit", "validation_accuracy"))
    assert (folder / "my-weights" / "README.md").read_text(encoding="utf-8") == card


def test_a_line_in_a_clone_registers_a_name(folder, tmp_path):
    clone, packages = tmp_path / "clone", tmp_path / "packages"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    for name in ("capsbench", "models", "datamodules", "benchmarks"):
        shutil.copytree(ROOT / name, clone / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    (folder / "mymodel.py").rename(clone / "models" / "mymodel.py")
    _, table, line = FILES["pyproject.toml"].splitlines()
    written = (clone / "pyproject.toml").read_text(encoding="utf-8")
    assert f"\n{table}\n" in written
    written = written.replace(f"\n{table}\n", f"\n{table}\n{line}\n")
    (clone / "pyproject.toml").write_text(written, encoding="utf-8")
    install(clone, packages)
    text = run(["-c", SEVERAL, *COMMANDS[5]], tmp_path, packages)
    assert text.startswith("my-model (model): Two convolutions with stride 2")
    assert " passed, 0 failed" in text


def test_an_installed_package_registers_a_name(new_package, folder, tmp_path, monkeypatch, capsys):
    source, packages = tmp_path / "mypackage", tmp_path / "packages"
    source.mkdir()
    (folder / "mymodel.py").rename(source / "mymodel.py")
    (source / "pyproject.toml").write_text(FILES["mypackage/pyproject.toml"], encoding="utf-8")
    install(source, packages)
    monkeypatch.syspath_prepend(packages)
    capsbench(*COMMANDS[6])
    assert " passed, 0 failed" in capsys.readouterr().out
