"""Published numbers and differences by paper, each beside what was measured here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from capsbench.reporting.comparisons.chance import chance_text
from capsbench.reporting.comparisons.published import (
    Counterpart,
    PublishedDifference,
    compare_differences,
    compare_published,
    compared_pairs,
)
from capsbench.reporting.exports.export import ExportedResults
from capsbench.reporting.exports.revisions import earlier_revisions
from capsbench.reporting.formatting import counted
from capsbench.reporting.tables.published_tables import (
    KNOWN_BY,
    difference_cells,
    model_text,
    published_points,
    published_text,
)
from capsbench.reporting.tables.table import MISSING, Table, number_columns, text_columns, text_rows
from capsbench.schema import Benchmark, benchmark_names, load_benchmark

NOT_RUN = (MISSING, "not run")
EARLIER = "earlier revisions"
PAPER = re.compile(r"[\w-]+ et al\. \(\d{4}\)")

Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Paper:
    """A paper whose numbers some protocols repeat.

    Attributes:
        name: Authors and year.
        benchmarks: The protocols.
        measured: Published numbers and differences with a counterpart.
        not_run: The others.
    """

    name: str
    benchmarks: tuple[Benchmark, ...]
    measured: Table
    not_run: Table


def papers(exported: Sequence[ExportedResults]) -> list[Paper]:
    """Return the papers by name, each with its numbers.

    Args:
        exported: Exported records of benchmarks.
    """
    rows: dict[str, Rows] = {}
    benchmarks: dict[str, dict[str, Benchmark]] = {}
    for name in benchmark_names():
        benchmark = load_benchmark(name)
        records = [each for each in exported if each.name == name]
        numbers = _numbers(benchmark, records) + _differences(benchmark, records)
        for source, row in numbers:
            paper = paper_of(source)
            rows.setdefault(paper, []).append(row)
            benchmarks.setdefault(paper, {})[name] = benchmark
    return [
        Paper(
            name,
            tuple(benchmarks[name].values()),
            _table(name, [row for row in rows[name] if row[4:6] != NOT_RUN]),
            _table(name, [row for row in rows[name] if row[4:6] == NOT_RUN]),
        )
        for name in sorted(rows)
    ]


def paper_of(source: str) -> str:
    """Return authors and year of the paper that a source names; the source itself without these.

    >>> paper_of("README of the code of Ribeiro et al. (2020)"), paper_of("our own protocol")
    ('Ribeiro et al. (2020)', 'our own protocol')
    """
    match = PAPER.search(source)
    return match[0] if match else source


def _table(name: str, rows: Rows) -> Table:
    return Table(
        name=name,
        title=name,
        columns=(
            *text_columns("Benchmark", "Models", "Quantity"),
            *number_columns("Published", "Measured here"),
            *text_columns("Verdict", "Source", "Known by"),
        ),
        rows=text_rows(rows),
    )


def _numbers(
    benchmark: Benchmark, records: Sequence[ExportedResults]
) -> list[tuple[str, tuple[str, ...]]]:
    """Return a row for each published number and record, with its source."""
    compared = [(each, compare_published(each.results)) for each in records]
    rows: list[tuple[str, tuple[str, ...]]] = []
    for entry in benchmark.published:
        start = (benchmark.name, model_text(entry), published_text(entry), entry.printed)
        matches: list[tuple[str, str]] = [
            (_measured(row.counterpart, each, entry.model), row.verdict)
            for each, comparisons in compared
            for row in comparisons
            if row.entry == entry and row.counterpart.seeds
        ]
        end = (entry.source, KNOWN_BY[entry.known_by])
        rows += [(entry.source, (*start, *cells, *end)) for cells in matches or [NOT_RUN]]
    return rows


def _differences(
    benchmark: Benchmark, records: Sequence[ExportedResults]
) -> list[tuple[str, tuple[str, ...]]]:
    """Return a row for each published difference and record, with its source."""
    compared = [(each, compare_differences(each.results)) for each in records]
    rows = []
    for first, entry in compared_pairs(benchmark):
        start = (benchmark.name, f"{model_text(entry)} minus {model_text(first)}")
        matches = [
            _difference_cells(row, earlier_mark(each, entry.model, first.model))
            for each, differences in compared
            for row in differences
            if (row.first, row.entry) == (first, entry)
        ]
        unmeasured = (published_text(entry), published_points(first, entry), *NOT_RUN)
        end = (entry.source, "difference of two numbers")
        rows += [(entry.source, (*start, *cells, *end)) for cells in matches or [unmeasured]]
    return rows


def earlier_mark(exported: ExportedResults, *labels: str) -> list[str]:
    """Return the mark of numbers of earlier revisions, beside which others may stand.

    Args:
        exported: The record.
        labels: Models behind the numbers; all of the record if left out.
    """
    cells = [cell for cell in exported.cells if not labels or cell.label in labels]
    return [EARLIER] if earlier_revisions(cells) else []


def _difference_cells(row: PublishedDifference, terms: Sequence[str]) -> tuple[str, ...]:
    """Return the cells of a difference, the measured one with terms."""
    quantity, published, measured, verdict = difference_cells(row)
    return quantity, published, ", ".join([measured, *terms]), verdict


def _measured(counterpart: Counterpart, exported: ExportedResults, label: str) -> str:
    """Return a measured number with the size and the data set that it was measured at."""
    record = exported.results.record
    terms = [record.size, *([record.benchmark.data.name] if record.other_data else [])]
    terms += earlier_mark(exported, label)
    if counterpart.seed_values is None:
        return f"{MISSING} ({', '.join(terms)})"
    at_chance = chance_text(counterpart.seed_values.at_chance)
    terms = [counted(counterpart.seed_values.n, "seed"), *filter(None, [at_chance]), *terms]
    details = ", ".join(terms)
    return f"{100 * counterpart.seed_values.mean:.2f} % ({details}{counterpart.note})"
