"""History of a runs folder: what was trained and measured when, and by which command."""

from __future__ import annotations

from capsbench.reporting.index.models import Summaries, page_of
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)


def history(summaries: Summaries) -> Table:
    """Return a row for each day, benchmark, commit, device and command, newest first."""
    rows = [(name, work) for name, summary in summaries.items() for work in summary.history]
    rows.sort(key=lambda row: row[1].date, reverse=True)
    return Table(
        name="history",
        title="History",
        columns=(
            *text_columns("Date", "Benchmark"),
            *number_columns("Trained"),
            *text_columns("Measured", "Commit", "Device", "Command"),
        ),
        rows=tuple(
            TableRow(
                (
                    work.date,
                    TableCell(name, link=page_of(name)),
                    str(work.trainings) if work.trainings else None,
                    ", ".join(work.measures) or None,
                    work.commit[:12],
                    work.device,
                    TableCell(work.command, copied=True) if work.command else None,
                )
            )
            for name, work in rows
        ),
        caption=(
            "Trainings that the benchmarks list now, and what was measured on them, also beside "
            "the protocol, by the day and the commit of their records. What several benchmarks "
            "share is in the rows of each. A command is named for the work since its benchmark "
            "was recorded; what earlier commands and 'capsbench measure' did has none in its "
            "records."
        ),
    )
