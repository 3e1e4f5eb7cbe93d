"""Terminal output of results: the table of a comparison, and a description of the machine."""

from __future__ import annotations

from collections.abc import Sequence

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from capsbench.speed.machine import Machine
from capsbench.speed.rows import RowResult

# Width by column, equal in all tables, since each is printed as soon as it is complete. All columns
# together fit into the 80 characters of a terminal.
COLUMNS = {"ms": 7, "10-90 %": 11, "ratio": 6, "memory": 8, "matmul": 6, "copy": 6}
NAME_WIDTH = 29

LEGEND = (
    "ms: median of the rounds, with 10th and 90th percentile; ratio: speedup over the first row; "
    "memory: peak memory beyond the memory in use before; matmul, copy: minimum operations and "
    "bytes of the work per second, in per cent of the limits above"
)


def comparison_table(results: Sequence[RowResult]) -> Table:
    """Return the table of one comparison, without rows that were not measured."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", width=NAME_WIDTH)
    for column, width in COLUMNS.items():
        table.add_column(column, width=width, justify="right", no_wrap=True)
    for result in results:
        if result.not_measured is None:
            table.add_row(Text(result.row), *map(Text, _cells(result)))
    return table


def unmeasured_lines(results: Sequence[RowResult]) -> list[str]:
    """Return a line for each reason why rows were not measured."""
    rows: dict[str, list[str]] = {}
    for result in results:
        if result.not_measured is not None:
            rows.setdefault(result.not_measured, []).append(result.row)
    return [f"not measured: {', '.join(names)}: {reason}" for reason, names in rows.items()]


def _cells(result: RowResult) -> list[str]:
    return [
        format_number(result.median_ms),
        f"{format_number(result.p10_ms)}–{format_number(result.p90_ms)}",
        format_number(result.ratio),
        "" if result.peak_bytes is None else decimal(result.peak_bytes),
        _percent(result.percent_of_matmul),
        _percent(result.percent_of_copy),
    ]


def format_number(value: float | None) -> str:
    """Format a number with three significant digits, or as an integer from 100 on; None is empty.

    >>> [format_number(value) for value in (0.01234, 0.5, 1.5, 27.25, 1859.3, None)]
    ['0.0123', '0.500', '1.50', '27.2', '1859', '']
    """
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.{0 if value >= 10 else 1}f} %"


def machine_table(machine: Machine) -> Table:
    """Return the machine, the versions, and the limits that the last two columns refer to."""
    provenance = machine.provenance
    versions = provenance.versions
    commit = f" ({provenance.commit})" if provenance.commit else ""
    settings = [f"{name}: {value}" for name, value in machine.settings.items()]
    matmul = machine.matmul_flops_per_second
    products = [f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in matmul.items()]
    copy = machine.copy_bytes_per_second
    limits = [f"matrix products {' and '.join(products)}"] if products else []
    limits += [f"copies {copy / 1e9:,.1f} GB/s, read and written"] if copy else []
    rows = {
        "processor": f"{machine.cpu}, {machine.threads} threads",
        "device": machine.device_name if machine.device == "cuda" else "",
        "bf16": ", ".join(machine.bf16) or "no instructions",
        "software": f"capsbench {versions['capsbench']}{commit}, torch {versions['torch']}, "
        f"Python {versions['python']}, {provenance.date}",
        "settings": "\n".join(settings),
        "limits": "; ".join(limits),
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, text in rows.items():
        if text:
            table.add_row(Text(name), Text(text))
    return table
