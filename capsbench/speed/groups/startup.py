"""Rows of group ``startup``: duration of commands without computation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import cache, partial
from tempfile import TemporaryDirectory

from capsbench.speed.rows import Comparison, Row, Work

CAPSBENCH = ("-m", "capsbench")
COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "python -c 'import capsbench'": ("-c", "import capsbench"),
    "capsbench --help": (*CAPSBENCH, "--help"),
    "capsbench list": (*CAPSBENCH, "list"),
}
RUNS = "RUNS"  # stands for the folder of a finished benchmark
BENCHMARK = ("run", "quick", "--models", "CNN", "--seeds", "0", "--limit", "60", "--wandb", "off")
SHORT = (*BENCHMARK, "--set", "recipe.steps=2", "--set", "recipe.evaluate_every=2")
FINISHED = {
    "python -c 'import torch'": ("-c", "import torch"),
    "capsbench report": (*CAPSBENCH, "report", "--output", RUNS),
    "capsbench run": (*CAPSBENCH, *SHORT, "--output", RUNS),
    "capsbench run --dry-run": (*CAPSBENCH, *SHORT, "--output", RUNS, "--dry-run"),
    "start of a worker": ("-c", "import capsbench.running.run_job, capsbench.training.train"),
}
NEW = "NEW"  # stands for a new folder
WHOLE = {
    "python -c 'import torch'": ("-c", "import torch"),
    "capsbench run quick": (*CAPSBENCH, "run", "quick", "--wandb", "off", "--output", NEW),
}
COMPARISONS: dict[str, Mapping[str, tuple[str, ...]]] = {
    "start of a process": COMMANDS,
    "a finished benchmark": FINISHED,
    "a whole run": WHOLE,
}
ROUNDS = {"a whole run": 1}


def comparisons() -> list[Comparison]:
    """Compare whole processes from start to end.

    The baselines are an empty Python program and, for runs and commands on a finished benchmark,
    one that imports torch.
    """
    return [_comparison(name, commands) for name, commands in COMPARISONS.items()]


def _comparison(name: str, commands: Mapping[str, tuple[str, ...]]) -> Comparison:
    rows = [
        Row(each, partial(_process, arguments), measures_memory=False)
        for each, arguments in commands.items()
    ]
    return Comparison(name, tuple(rows), rounds=ROUNDS.get(name))


def _process(arguments: tuple[str, ...]) -> Work:
    if RUNS in arguments:
        arguments = tuple(_finished_runs().name if each == RUNS else each for each in arguments)

    def work() -> None:
        with TemporaryDirectory(prefix="capsbench-bench-") as new:
            words = [new if each == NEW else each for each in arguments]
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

    return work


@cache
def _finished_runs() -> TemporaryDirectory[str]:
    """Return a temporary folder with a benchmark that is done; it lasts as long as the process."""
    folder = TemporaryDirectory(prefix="capsbench-bench-")
    _process((*CAPSBENCH, *SHORT, "--output", folder.name))()
    return folder
