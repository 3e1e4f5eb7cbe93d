"""Rows of group ``startup``: duration of commands without computation."""

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
    """Compare whole processes from start to end; the baseline is an empty Python program."""
    rows = [
        Row(name, partial(_process, arguments), measures_memory=False)
        for name, arguments in COMMANDS.items()
    ]
    return [Comparison("start of a process", tuple(rows))]


def _process(arguments: tuple[str, ...]) -> Work:
    def work() -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    return work
