"""Help, version and completion: fast, and without torch."""

import os
import resource
import subprocess
import sys

import pytest

HEAVY = ("torch", "pytorch_lightning", "torchmetrics", "kornia", "wandb", "scipy", "matplotlib")
COMMANDS = ("run", "list", "show", "check", "report", "bench", "doctor")
LIGHT = [
    [],
    ["--help"],
    ["--version"],
    *([command, "--help"] for command in COMMANDS),
    *(["list", kind] for kind in ("models", "datamodules", "benchmarks")),
    ["show", "tiny.yaml"],
    ["run", "tiny.yaml", "--seeds", "x"],
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


def test_what_prints_facts_without_torch_imports_no_torch(tiny):
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
def test_help_takes_less_than_half_a_second(level):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(*level, "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, which does not count what other processes take meanwhile.
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: capsbench")
    assert seconds < 0.5


def test_the_module_is_the_command():
    done = run("rnu")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "capsbench: error: no such command 'rnu'; did you mean 'run'?\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("capsbench sh", {"show"}),
        ("capsbench show mnis", {"mnist"}),
        ("capsbench check cnn-smal", {"cnn-small"}),
        ("capsbench run qui", {"quick"}),
        ("capsbench run quick --models cnn-small,cnn-sm", {"cnn-small,cnn-small"}),
        ("capsbench run quick --device c", {"cpu", "cuda"}),
        ("capsbench list data", {"datamodules"}),
    ],
)
def test_the_shell_completes(words, offered):
    done = run(
        _CAPSBENCH_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split()) - 1),
    )
    assert set(done.stdout.split()) == offered


def test_the_shell_is_told_how_to_complete():
    done = run("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_CAPSBENCH_COMPLETE=complete_bash" in done.stdout
