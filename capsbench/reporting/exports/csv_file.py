"""Measured values as a CSV file, ready for pandas."""

from __future__ import annotations

import csv
import io

from capsbench.records import Results


def results_csv(results: Results) -> str:
    """Return every measured value as a tidy row.

    Conditions have one column per name, ``condition_<name>``; fields that do not apply are empty.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, results.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(results.rows())
    return stream.getvalue()
