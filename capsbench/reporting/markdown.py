"""The report as Markdown: the question, the protocol, the tables and the figures' files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from capsbench.reporting import differences, protocol, tables
from capsbench.reporting.differences import DifferenceRow
from capsbench.reporting.measure_figures import MeasureFigure
from capsbench.reporting.page import describe, plain_tables, versions
from capsbench.reporting.results import Results
from capsbench.reporting.split_table import TITLE as split_title
from capsbench.reporting.split_table import note as split_note
from capsbench.reporting.split_table import split_table
from capsbench.reporting.formatting import FACTORS, listed

_SPECIAL = re.compile(r"([\\`*_\[\]|$~])")


def render(
    results: Results, measured: Mapping[str, MeasureFigure], compared: list[DifferenceRow]
) -> str:
    """The report as Markdown text.

    Args:
        results: What the records say.
        measured: The figures of measures, by the names of their files.
        compared: The differences between models.
    """
    benchmark, record = results.benchmark, results.protocol
    parts = [f"# {plain(benchmark.title)}", plain(benchmark.question)]
    if record.changes:
        parts.append(f"> **Not the published protocol.** Changed: {plain(listed(record.changes))}.")
    parts += result_tables(results, compared)
    for factor in results.factors():
        alt = plain(describe(results, factor))
        parts += [f"### {FACTORS[factor]}", f"![{alt}](figures/accuracy-{factor}.svg)"]
    for name, each in measured.items():
        told = (f"- {plain(label)}: {plain(' '.join(n))}" for label, n in each.notes.items())
        parts += [
            f"### {plain(each.title)}",
            f"![{plain(each.title)}](figures/{name}.svg)",
            plain(each.caption),
            *(["Left out, or to be known:\n\n" + "\n".join(told)] if each.notes else []),
        ]
    terms = protocol.in_words(results)
    parts += ["## Protocol", "\n".join(f"- **{term}.** {plain(text)}" for term, text in terms)]
    parts += ["## Provenance", "\n".join(f"- {line}" for line in _provenance(results))]
    return "\n\n".join(parts) + "\n"


def result_tables(results: Results, compared: list[DifferenceRow], *, level: int = 2) -> list[str]:
    """The tables of a result: the summary, splits, differences, drawings, and those of text alone.

    Args:
        results: What the records say.
        compared: The differences between models.
        level: Of their headings.
    """
    mark = "#" * level
    parts: list[str] = []
    rows = tables.summary(results)
    parts += [
        f"{mark} Result",
        markdown_table(
            ["Model", *tables.columns(results).values(), "Parameters", "Seeds"],
            (
                [
                    row.label,
                    *(entry.text if entry else "–" for entry in row.entries.values()),
                    f"{row.parameters:,}" if row.parameters is not None else "–",
                    f"{row.seeds} of {row.planned}",
                ]
                for row in rows
            ),
        ),
        tables.caption(results),
    ]
    notes = [f"- {plain(row.label)}: {', '.join(row.notes)}" for row in rows if row.notes]
    if notes:
        parts.append("\n".join(["Not in the table:", "", *notes]))
    if splits := split_table(results):
        lines = (
            [label, *(entry.text if entry else "–" for entry in entries)]
            for label, _, entries in splits.rows
        )
        head = ["Model", *map(plain, splits.columns)]
        parts += [f"{mark} {split_title}", markdown_table(head, lines), split_note(results)]
    if compared:
        parts += [
            f"{mark} {differences.TITLE}",
            markdown_table(
                ["Model", "Value", *differences.COLUMNS],
                ([row.label, row.what, *row.cells] for row in compared),
            ),
            plain(differences.caption(results, compared)),
        ]
    drawings = tables.drawings(results)
    if drawings:
        parts += [
            f"{mark} Drawings of moved images",
            markdown_table(
                tables.DRAWING_COLUMNS,
                (
                    [
                        row.label,
                        row.views,
                        row.error.text if row.error else tables.CANNOT_DRAW,
                        row.copy,
                        row.constant,
                        row.share.text if row.share else "–",
                    ]
                    for row in drawings
                ),
            ),
            tables.DRAWING_CAPTION,
        ]
    for table in plain_tables(results):
        parts += [
            f"{mark} {table.title}",
            markdown_table(table.columns, table.rows),
            plain(table.caption),
        ]
    return parts


def _provenance(results: Results) -> list[str]:
    record = results.protocol
    tools = (f"{name} {value}" for name, value in versions(results))
    return [
        f"Benchmark: {plain(record.benchmark.name)}, version {record.benchmark.version}",
        f"Cells: {len(results.cells)}",
        f"Source: {plain(record.benchmark.source)}",
        f"Command: {plain(record.command)}",
        f"Commit: {plain(record.commit or 'unknown')}",
        f"Versions: {plain(', '.join(tools) or 'unknown')}",
        f"Date: {plain(record.date)}",
    ]


def plain(text: str) -> str:
    r"""Text in which nothing is taken for markup, neither Markdown's nor HTML's.

    >>> plain("<b> *a* | b")
    '&lt;b&gt; \\*a\\* \\| b'
    """
    return _SPECIAL.sub(r"\\\1", escape(" ".join(text.splitlines()), quote=False))


def code(text: str) -> str:
    """Text as it is typed, in a code span that nothing within it ends.

    >>> code("a *b*"), code("a `b`")
    ('`a *b*`', '`` a `b` ``')
    """
    text = " ".join(text.split())
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{text}{space}{fence}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, whose cells hold no markup."""
    lines = [head, ["---"] * len(head), *([plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
