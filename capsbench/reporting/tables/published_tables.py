"""Tables of published numbers and differences with the measured ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from capsbench.records import Results
from capsbench.reporting.comparisons.aggregate import SeedValues
from capsbench.reporting.comparisons.published import (
    Counterpart,
    PublishedDifference,
    compare_differences,
    compare_published,
)
from capsbench.reporting.tables.mean_cell import mean_cell
from capsbench.reporting.tables.quantity_text import measured_text
from capsbench.reporting.tables.table import MISSING, Table, TableRow, number_columns, text_columns
from capsbench.schema import Published
from capsbench.schema.parts import point_text

KNOWN_BY = {
    "read": "read in the source",
    "calculated": "calculated from the source",
    "read off a curve": "read by eye off a curve",
}


def published_table(results: Results) -> Table | None:
    """Return the table of published numbers; None if the benchmark has none."""
    rows = compare_published(results)
    if not rows:
        return None
    return Table(
        name="published",
        title="Published numbers",
        columns=(
            *text_columns("Model", "Quantity"),
            *number_columns("Published", "Measured here"),
            *text_columns("Verdict", "Source", "Selected on", "Known by"),
        ),
        rows=tuple(
            TableRow(
                (
                    model_text(row.entry),
                    published_text(row.entry),
                    f"{row.entry.printed} (= {_value_text(row.entry)})",
                    _measured_text(row.counterpart),
                    row.verdict,
                    row.entry.source,
                    row.entry.selected_on,
                    KNOWN_BY[row.entry.known_by],
                )
            )
            for row in rows
        ),
        caption=(
            "Reproduced: the published number lies in the 95 % interval of the measured mean "
            "over seeds, or its own ± reaches the interval. Below three seeds nothing is decided. "
            "At another size, or on another data set, there is no verdict."
            + _matched_note(row.entry for row in rows)
        ),
    )


def published_difference_table(results: Results) -> Table | None:
    """Return the table of published differences; None if the benchmark has none."""
    rows = compare_differences(results)
    if not rows:
        return None
    return Table(
        name="published-differences",
        title="Published differences",
        columns=(
            *text_columns("Models", "Quantity"),
            *number_columns("Published", "Measured here"),
            *text_columns("Verdict", "Source"),
        ),
        rows=tuple(
            TableRow(
                (
                    f"{model_text(row.entry)} minus {model_text(row.first)}",
                    *difference_cells(row),
                    row.entry.source,
                )
            )
            for row in rows
        ),
        caption=(
            "A published difference is confirmed if the 95 % interval of the measured one, seed "
            "by seed, excludes zero with the same sign, and reversed if it excludes zero with the "
            "other sign. Numbers that were published as equal within their spreads, or that the "
            "matched rule makes equal, are not compared." + _matched_note(row.entry for row in rows)
        ),
    )


def difference_cells(row: PublishedDifference) -> tuple[str, str, str, str]:
    """Return quantity, published difference, measured difference and verdict as text."""
    return (
        published_text(row.entry),
        published_points(row.first, row.entry),
        _difference_text(row.seed_values),
        row.verdict_text,
    )


def published_points(first: Published, entry: Published) -> str:
    """Return a published difference with two digits, as papers have them."""
    return f"{100 * (entry.value - first.value):.2f} pts".replace("-", "−")


def model_text(entry: Published) -> str:
    """Return the label of the model, with the value or case of what the benchmark varies."""
    return entry.model if entry.at is None else f"{entry.model} at {point_text(entry.at)}"


def published_text(entry: Published) -> str:
    """Return the quantity in words, with the rule if it is the matched one."""
    rule = ", matched" if entry.rule == "matched" else ""
    return measured_text(entry.measure, entry.quantity) + rule


def _matched_note(entries: Iterable[Published]) -> str:
    rules = {entry.rule for entry in entries}
    return " Rows marked matched come from a rule that sees test labels." * ("matched" in rules)


def _value_text(entry: Published) -> str:
    spread = f" ± {100 * entry.spread:.2f}" if entry.spread else ""
    return f"{100 * entry.value:.2f}{spread} %"


def _measured_text(counterpart: Counterpart) -> str:
    cell = mean_cell(counterpart.seed_values)
    return cell.line + counterpart.note if cell else MISSING


def _difference_text(seed_values: SeedValues | None) -> str:
    cell = mean_cell(seed_values, "difference of shares")
    return replace(cell, values="").line if cell else MISSING
