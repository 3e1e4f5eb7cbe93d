"""docs/add-a-model.md is executed: its files are written, its commands run, both ways of naming."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "add-a-model.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
# A block that begins with a comment is the file that it names.
FILES = {block.partition("\n")[0].removeprefix("# "): block for block in BLOCKS if block[0] == "#"}
COMMANDS = [block.strip() for block in BLOCKS if block.startswith("capsbench ")]


def run(command, folder, packages=None):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    if packages is not None:
        environment["PYTHONPATH"] = str(packages)
    command = [sys.executable, *command]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def capsbench(line, folder, *more, packages=None):
    return run(["-m", "capsbench", *shlex.split(line)[1:], *more], folder, packages)


def install(source, packages):
    """What ``pip install`` does, without a network and beside the environment."""
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    run([*pip, "--disable-pip-version-check", "--target", str(packages), str(source)], source)


@pytest.fixture
def mynet(tmp_path):
    (tmp_path / "mynet.py").write_text(FILES["mynet.py"], encoding="utf-8")
    return tmp_path


def test_the_page_is_understood():
    assert set(FILES) >= {"mynet.py", "tiny.yaml", "load.py", "mypackage/pyproject.toml"}
    assert [line.split()[1] for line in COMMANDS] == ["check", "run", "show", "check"]
    assert len(FILES) + len(COMMANDS) == len(BLOCKS)


def test_a_file_is_checked_trained_and_loaded(mynet):
    for name in ("tiny.yaml", "load.py"):
        (mynet / name).write_text(FILES[name], encoding="utf-8")
    check, benchmark, *_ = COMMANDS
    assert "18 passed, 0 failed" in capsbench(check, mynet)
    capsbench(benchmark, mynet, "--device", "cpu", "--wandb", "off")
    assert "MyNet" in (mynet / "runs/tiny/report/index.html").read_text(encoding="utf-8")
    assert "11498 weights" in run(["load.py"], mynet)
    (card,) = mynet.glob("runs/digits/MyNet/0-*/checkpoints/validation/README.md")
    assert str(mynet) not in card.read_text(encoding="utf-8")  # nor where it was made
    assert (mynet / "my-weights" / "README.md").is_file()


def test_a_line_here_makes_it_a_name(mynet, tmp_path):
    clone, packages = tmp_path / "clone", tmp_path / "packages"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    for name in ("capsbench", "models", "datamodules", "benchmarks"):
        shutil.copytree(ROOT / name, clone / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    (mynet / "mynet.py").rename(clone / "models" / "mynet.py")
    (where,) = (name for name in FILES if name.startswith("pyproject.toml, below "))
    table, line = where.partition(" below ")[2], FILES[where].splitlines()[1]
    written = (clone / "pyproject.toml").read_text(encoding="utf-8")
    assert table in written
    (clone / "pyproject.toml").write_text(
        written.replace(table, f"{table}\n{line}"), encoding="utf-8"
    )
    install(clone, packages)
    shown = capsbench(COMMANDS[2], tmp_path, packages=packages)
    assert shown.startswith("my-net (model): Two convolutions with stride 2")


def test_a_package_of_ones_own_brings_a_name(mynet, tmp_path):
    source, packages = tmp_path / "mypackage", tmp_path / "packages"
    source.mkdir()
    (mynet / "mynet.py").rename(source / "mynet.py")
    (source / "pyproject.toml").write_text(FILES["mypackage/pyproject.toml"], encoding="utf-8")
    install(source, packages)
    assert "18 passed, 0 failed" in capsbench(COMMANDS[3], tmp_path, packages=packages)
