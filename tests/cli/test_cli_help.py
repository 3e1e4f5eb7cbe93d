"""Help, version and completion: fast, and without torch."""

import os
import subprocess
import sys

import pytest

from capsbench import __version__

HEAVY = ("torch", "pytorch_lightning", "torchmetrics", "kornia", "wandb", "scipy", "matplotlib")
LIGHT_PACKAGES = {
    *("capsbench", "typer", "annotated_doc", "shellingham", "lazy_loader"),
    *("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"),
}
COMMANDS = (
    "run",
    "list",
    "show",
    "check",
    "status",
    "report",
    "compare",
    "results",
    "data",
    "measure",
    "bench",
    "doctor",
)
LIGHT = [
    [],
    ["--help"],
    ["--version"],
    *([command, "--help"] for command in COMMANDS),
    *(["list", kind] for kind in ("models", "datamodules", "benchmarks", "measures")),
    ["show", "invariance-eror"],
    ["status", "."],
    ["run", "tiny.yaml", "--limit", "0"],
    ["run", "tiny.yaml", "--seeds", "x"],
    ["run", "tiny.yaml", "--set", "steps"],
    ["run", "tiny.yaml", "--output", "tiny.yaml"],
]


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "capsbench", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=60,
        check=False,
    )


def test_version(cli):
    assert cli("--version") == (0, f"capsbench {__version__}\n", "")


def test_no_command_prints_the_help(cli):
    assert cli() == cli("--help")


def test_help_lists_and_refused_options_import_no_torch(tiny):
    program = f"""
import sys
from capsbench.cli import main
for arguments in {LIGHT!r}:
    main(arguments)
    heavy = sorted(set({HEAVY!r}) & set(sys.modules))
    assert not heavy, (arguments, heavy)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("level", [[], *([command] for command in COMMANDS)], ids=" ".join)
def test_help_loads_only_packages_of_the_command_line(level):
    """``capsbench bench startup`` shows the time."""
    program = f"""
import sys
before = set(sys.modules)
from capsbench.cli import main
assert main({[*level, "--help"]!r}) == 0
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
others = {{name for name in loaded - sys.stdlib_module_names if not name.startswith("_")}}
print(*sorted(others), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("Usage: capsbench")
    assert set(done.stderr.split()) <= LIGHT_PACKAGES


def test_the_module_is_the_command():
    done = run("rnu")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("capsbench: error: ")
    assert "'rnu'" in done.stderr
    assert "did you mean 'run'" in done.stderr


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("capsbench sh", {"show"}),
        ("capsbench show mnis", {"mnist"}),
        ("capsbench show invar", {"invariance-error"}),
        ("capsbench check cnn-smal", {"cnn-small"}),
        ("capsbench run qui", {"quick"}),
        ("capsbench run quick --models cnn-small,cnn-sm", {"cnn-small,cnn-small"}),
        ("capsbench run quick --models CNN,+cnn-sm", {"CNN,+cnn-small"}),
        ("capsbench run quick --device c", {"cpu", "cuda"}),
        ("capsbench list data", {"datamodules"}),
        ("capsbench list mea", {"measures"}),
    ],
)
def test_shell_completion(words, completions):
    done = run(
        _CAPSBENCH_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split()) - 1),
    )
    assert set(done.stdout.split()) == completions


def test_completion_script():
    done = run("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_CAPSBENCH_COMPLETE=complete_bash" in done.stdout
