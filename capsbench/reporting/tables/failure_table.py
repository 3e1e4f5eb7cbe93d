"""Table of the cells that failed: the reason of each, its log, and the way to try it again."""

from __future__ import annotations

from capsbench.records import CellResult, Results
from capsbench.reporting.failure_text import retry_command
from capsbench.reporting.tables.table import Table, TableRow, number_columns, text_columns

FAILED = "failed"  # name of the table


def failure_table(results: Results) -> Table | None:
    """Return one row per failed cell; None if none failed."""
    failed = [cell for cell in results.cells if cell.failure is not None]
    if not failed:
        return None
    return Table(
        name=FAILED,
        title="Failed",
        columns=(
            *text_columns("Model"),
            *number_columns("Seed"),
            *text_columns("Job", "Reason", "Log"),
        ),
        rows=tuple(map(_row, failed)),
        caption=(
            "These cells take part in no mean. A log is a file in the runs folder. "
            f"'{retry_command(results.record.command)}' tries them again."
        ),
    )


def _row(cell: CellResult) -> TableRow:
    failure = cell.failure
    assert failure is not None  # of a failed cell
    log = f"{cell.reference.path}/{failure.log}" if failure.log else None
    seed = None if cell.seed is None else str(cell.seed)
    return TableRow((cell.title, seed, failure.job, failure.reason, log))
