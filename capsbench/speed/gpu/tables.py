"""Tables of the check in Markdown, for a page such as ``docs/gpu.md``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.filesize import decimal

from capsbench.speed.gpu.record import GpuRecord, PartResult, SectionResult
from capsbench.speed.table import format_number

SPEED = (
    "row",
    "median_ms",
    "ratio",
    "peak_bytes",
    "percent_of_matmul",
    "percent_of_copy",
    "not_measured",
)
NAMED = ("name", "row", "model", "seed", "step")  # columns that come first


def markdown(record: GpuRecord) -> str:
    """Return the machine, a table of the sections, and the tables of each section."""
    made, versions = record.provenance, record.provenance.versions
    machine = (
        f"Machine: {', '.join(record.device_names) or 'unknown'}; torch {versions['torch']}, "
        f"Python {versions['python']}, Triton {versions['triton']}; commit {made.commit}, "
        f"{made.date[:10]}, `{record.command}`, {record.seconds:.0f} s"
        f"{', small sizes' if record.small else ''}."
    )
    lines = [machine]
    if record.note:
        lines.append(f"**{record.note[0].upper()}{record.note[1:]}.**")
    overview = [
        {
            "section": each.name,
            "result": each.status,
            "parts done": f"{sum(part.status == 'done' for part in each.parts)} of "
            f"{len(each.parts)}",
            "time": f"{each.seconds:.0f} s",
            "": each.reason,
        }
        for each in record.sections
    ]
    lines.append(_table(overview))
    for section in record.sections:
        lines += [f"### {section.title}", *_section_tables(section)]
    return "\n\n".join(lines)


def _section_tables(section: SectionResult) -> list[str]:
    """Return a table of the parts, and one for the rows of each part that has some."""
    tables = []
    alone = [part for part in section.parts if "rows" not in part.values]
    if alone:
        tables.append(_table(_part_rows(alone)))
    for part in section.parts:
        if "rows" in part.values:
            reason = f": {part.reason}" if part.reason else ""
            title = f"{part.name} ({part.status}{reason}; {part.seconds:.0f} s)"
            tables += [title, _table([_shortened(row) for row in part.values["rows"]])]
    return tables


def _shortened(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the columns that a page shows of a row of `capsbench bench`; other rows whole."""
    return {name: row.get(name) for name in SPEED} if "baseline" in row else row


def _part_rows(parts: Sequence[PartResult]) -> list[dict[str, Any]]:
    """Return a row for each part: a column per value, or one for all values if none is shared."""
    rows = [
        {"name": part.name, "result": part.status, "reason": part.reason, **_scalars(part.values)}
        for part in parts
    ]
    counts = Counter(name for part in parts for name in _scalars(part.values))
    if len(parts) == 1 or max(counts.values(), default=0) > 1:
        return rows
    return [
        {**dict(list(row.items())[:3]), "values": _cell("values", _scalars(part.values))}
        for row, part in zip(rows, parts, strict=True)
    ]


def _scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that fit into a cell: no lists, and of mappings those of numbers."""
    return {name: each for name, each in values.items() if _fits(each)}


def _fits(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(each, int | float) for each in value.values())
    return not isinstance(value, list)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table with the columns of all rows, those that name a row first."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns.sort(key=lambda name: NAMED.index(name) if name in NAMED else len(NAMED))
    columns = [name for name in columns if any(row.get(name) is not None for row in rows)]
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell(name, row.get(name)) for name in columns] for row in rows]
    return "\n".join(_line(cells) for cells in lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in cells)} |"


def _cell(column: str, value: Any) -> str:
    """Format a value: memory with its unit, other numbers with three digits.

    >>> _cell("peak_bytes", 2_500_000), _cell("ratio", 1.2345), _cell("relative error", 3e-7)
    ('2.5 MB', '1.23', '3.0e-07')
    """
    match value:
        case None:
            return ""
        case bool() | str():
            return str(value)
        case int():
            return decimal(value) if column in ("peak_bytes", "memory", "free") else f"{value:,}"
        case float():
            return f"{value:.1e}" if 0 < abs(value) < 1e-3 else format_number(value)
        case dict():
            return ", ".join(f"{name} {_cell(name, each)}" for name, each in value.items())
    return str(value)
