"""Rows of group ``startup``: how long a command takes that computes nothing."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from capsbench.speed.rows import Comparison, Row, Work

COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "python -c 'import capsbench'": ("-c", "import capsbench"),
    "capsbench --help": ("-m", "capsbench", "--help"),
    "capsbench list": ("-m", "capsbench", "list"),
}


def comparisons() -> list[Comparison]:
    """Whole processes, from their start to their end; Python's own is the baseline."""
    rows = [
        Row(name, partial(_process, arguments), counts_memory=False)
        for name, arguments in COMMANDS.items()
    ]
    return [Comparison("start of a process", tuple(rows))]


def _process(arguments: tuple[str, ...]) -> Work:
    def work() -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    return work
