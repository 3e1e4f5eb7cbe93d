"""Measured values as a CSV file, ready for pandas."""

from __future__ import annotations

from capsbench.files.csv_text import csv_text
from capsbench.records import Results


def results_csv(results: Results) -> str:
    """Return every measured value as a tidy row.

    Conditions have one column per name, ``condition_<name>``; fields that do not apply are empty.
    """
    return csv_text(results.columns, results.rows())
