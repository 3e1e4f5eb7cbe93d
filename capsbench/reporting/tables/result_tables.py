"""All tables of the result of a benchmark, in the order of every page."""

from __future__ import annotations

from collections.abc import Sequence

from capsbench.records import Results
from capsbench.reporting.comparisons.differences import ModelDifference, difference_table
from capsbench.reporting.comparisons.matched import matched_table
from capsbench.reporting.tables.case_table import case_table
from capsbench.reporting.tables.drawing_table import drawing_table
from capsbench.reporting.tables.failure_table import failure_table
from capsbench.reporting.tables.joint_view_table import joint_view_table
from capsbench.reporting.tables.missing_table import missing_table
from capsbench.reporting.tables.published_tables import published_difference_table, published_table
from capsbench.reporting.tables.search_table import search_table
from capsbench.reporting.tables.split_table import split_table
from capsbench.reporting.tables.summary_table import summary_table
from capsbench.reporting.tables.table import Table


def result_tables(results: Results, differences: Sequence[ModelDifference]) -> list[Table]:
    """Return the tables that the benchmark has, the summary first.

    Args:
        results: The records.
        differences: The differences between models.
    """
    tables = (
        summary_table(results),
        split_table(results),
        case_table(results),
        joint_view_table(results),
        difference_table(results, differences),
        drawing_table(results),
        matched_table(results),
        published_table(results),
        published_difference_table(results),
        search_table(results),
        failure_table(results),
        missing_table(results),
    )
    return [table for table in tables if table is not None]


def terminal_tables(results: Results) -> list[Table]:
    """Return the tables that a run prints: the result by model, and what failed or is missing."""
    tables = (
        summary_table(results),
        split_table(results),
        joint_view_table(results),
        drawing_table(results),
        failure_table(results),
        missing_table(results, whole_measures=True),
    )
    return [table for table in tables if table is not None]
