"""Tables over all exported records: an overview, and every published number and difference."""

from __future__ import annotations

from collections.abc import Sequence

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
from capsbench.reporting.formatting import counted, listed, points
from capsbench.reporting.tables.published_tables import (
    KNOWN_BY,
    difference_cells,
    model_text,
    published_text,
)
from capsbench.reporting.tables.quantity_text import quantity_text
from capsbench.reporting.tables.table import MISSING, Table, number_columns, text_columns, text_rows
from capsbench.schema import Benchmark, benchmark_names, load_benchmark

NOT_RUN = (MISSING, "not run")
EARLIER = "earlier revisions"


def overview_table(exported: Sequence[ExportedResults]) -> Table:
    """Return one row per record: size, cells, device, date and counts of verdicts."""
    rows = []
    for each in exported:
        results = each.results
        verdicts = [row.verdict for row in compare_published(results)]
        counts = [f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts)]
        trained = [cell.training for cell in results.cells if cell.training]
        rows.append(
            (
                each.name,
                ", ".join([results.record.size, *_earlier(each)]),
                f"{len(each.cells)} of {_num_planned(results.benchmark)}{_failed(each)}",
                listed(list(dict.fromkeys(each.execution.device_name for each in trained))),
                results.record.provenance.date[:10],
                listed(counts) or MISSING,
            )
        )
    known = {each.name for each in exported}
    missing = [name for name in benchmark_names() if name not in known]
    return Table(
        name="overview",
        title="Overview",
        columns=(
            *text_columns("Benchmark", "Size"),
            *number_columns("Cells"),
            *text_columns("Device", "Date", "Published"),
        ),
        rows=text_rows(rows),
        caption=f"Not run: {listed(missing)}." if missing else "",
    )


def all_differences_table(exported: Sequence[ExportedResults]) -> Table:
    """Return every published difference of every benchmark, compared with each record."""
    rows: list[Sequence[str]] = []
    for name in benchmark_names():
        compared = [
            (each, compare_differences(each.results)) for each in exported if each.name == name
        ]
        for first, entry in compared_pairs(load_benchmark(name)):
            start = (name, f"{entry.model} minus {first.model}")
            matches = [
                _difference_cells(row, _earlier(each, entry.model, first.model))
                for each, differences in compared
                for row in differences
                if (row.first, row.entry) == (first, entry)
            ]
            unmeasured = (published_text(entry), points(entry.value - first.value), *NOT_RUN)
            rows += [(*start, *cells, entry.source) for cells in matches or [unmeasured]]
    return Table(
        name="published-differences",
        title="Published differences",
        columns=(
            *text_columns("Benchmark", "Models", "Quantity"),
            *number_columns("Published", "Measured"),
            *text_columns("Verdict", "Source"),
        ),
        rows=text_rows(rows),
    )


def all_published_table(exported: Sequence[ExportedResults]) -> Table:
    """Return every published number of every benchmark, compared with each record."""
    rows: list[Sequence[str]] = []
    for name in benchmark_names():
        compared = [
            (each, compare_published(each.results)) for each in exported if each.name == name
        ]
        for entry in load_benchmark(name).published:
            rule = ", matched" if entry.rule == "matched" else ""
            start = (name, model_text(entry), quantity_text(entry.quantity) + rule, entry.printed)
            matches: list[tuple[str, str]] = [
                (_measured(row.counterpart, each, entry.model), row.verdict)
                for each, comparisons in compared
                for row in comparisons
                if row.entry == entry and row.counterpart.seeds
            ]
            end = (entry.source, KNOWN_BY[entry.known_by])
            rows += [(*start, *cells, *end) for cells in matches or [NOT_RUN]]
    return Table(
        name="published",
        title="Published numbers",
        columns=(
            *text_columns("Benchmark", "Model", "Quantity"),
            *number_columns("Published", "Measured"),
            *text_columns("Verdict", "Source", "Known by"),
        ),
        rows=text_rows(rows),
    )


def _earlier(exported: ExportedResults, *labels: str) -> list[str]:
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
    terms += _earlier(exported, label)
    if counterpart.seed_values is None:
        return f"{MISSING} ({', '.join(terms)})"
    at_chance = chance_text(counterpart.seed_values.at_chance)
    terms = [counted(counterpart.seed_values.n, "seed"), *filter(None, [at_chance]), *terms]
    details = ", ".join(terms)
    return f"{100 * counterpart.seed_values.mean:.2f} % ({details}{counterpart.note})"


def _failed(exported: ExportedResults) -> str:
    return f", {len(exported.failed)} failed" if exported.failed else ""


def _num_planned(benchmark: Benchmark) -> int:
    values = len(benchmark.vary.points) if benchmark.vary else 1
    return len(benchmark.models) * len(benchmark.seeds) * values
