"""Results for the terminal: a comparison's table, and the machine in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from capsbench.speed.rows import Result

# Column -> width: the same in every comparison's table, since each is printed when it is done, and
# all together within the 80 characters of a terminal.
COLUMNS = {"ms": 7, "10-90 %": 11, "ratio": 6, "memory": 8, "matmul": 6, "copy": 6}
NAME_WIDTH = 29

LEGEND = (
    "ms: median of the rounds, and the values between which eight tenths of them lie; ratio: how "
    "many times as fast as the first row; memory: the most in use at one time, beyond what was in "
    "use before; matmul, copy: the operations and bytes that the work takes at least, per second, "
    "in per cent of the limits above"
)


def comparison_table(results: Sequence[Result]) -> Table:
    """The rows of one comparison; those without numbers were not measured."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", width=NAME_WIDTH)
    for column, width in COLUMNS.items():
        table.add_column(column, width=width, justify="right", no_wrap=True)
    for result in results:
        if result.not_measured is None:
            table.add_row(Text(result.row), *map(Text, _cells(result)))
    return table


def reasons(results: Sequence[Result]) -> list[str]:
    """What was not measured and why, a line for each reason."""
    rows: dict[str, list[str]] = {}
    for result in results:
        if result.not_measured is not None:
            rows.setdefault(result.not_measured, []).append(result.row)
    return [f"not measured: {', '.join(names)}: {reason}" for reason, names in rows.items()]


def _cells(result: Result) -> list[str]:
    return [
        number(result.median_ms),
        f"{number(result.p10_ms)}–{number(result.p90_ms)}",
        number(result.ratio),
        "" if result.peak_bytes is None else decimal(result.peak_bytes),
        _percent(result.percent_of_matmul),
        _percent(result.percent_of_copy),
    ]


def number(value: float | None) -> str:
    """A number in three digits, or all that it has before the point; empty without a number.

    >>> number(0.01234), number(0.5), number(1.5), number(27.25), number(1859.3), number(None)
    ('0.0123', '0.500', '1.50', '27.2', '1859', '')
    """
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.{0 if value >= 10 else 1}f} %"


def machine_table(machine: Mapping[str, Any]) -> Table:
    """The machine, the versions, and the limits to which the last two columns refer."""
    versions = machine["versions"]
    commit = f" ({machine['commit']})" if machine["commit"] else ""
    settings = [f"{name}: {value}" for name, value in machine["settings"].items()]
    matmul = machine["matmul_flops_per_second"]
    products = [f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in matmul.items()]
    copy = machine["copy_bytes_per_second"]
    limits = [f"matrix products {' and '.join(products)}"] if products else []
    limits += [f"copies {copy / 1e9:,.1f} GB/s, read and written"] if copy else []
    rows = {
        "processor": f"{machine['cpu']}, {machine['threads']} threads",
        "device": machine["device_name"] if machine["device"] == "cuda" else "",
        "bf16": ", ".join(machine["bf16"]) or "no instructions",
        "software": f"capsbench {versions['capsbench']}{commit}, torch {versions['torch']}, "
        f"Python {versions['python']}, {machine['date']}",
        "settings": "\n".join(settings),
        "limits": "; ".join(limits),
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, text in rows.items():
        if text:
            table.add_row(Text(name), Text(text))
    return table
