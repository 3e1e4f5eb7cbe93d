"""Measured values as a CSV file, ready for pandas."""

from __future__ import annotations

import csv
import io

from capsbench.records import Results


def results_csv(results: Results) -> str:
    """Return every measured value as a tidy row.

    Conditions have one column per name, ``condition_<name>``; fields that do not apply are empty.
    """
    rows = list(results.rows())
    conditions = sorted({name for row in rows for name in row["condition"]})
    columns = [
        *("benchmark", "label", "at", "model", "seed", "fingerprint", "rule", "measure", "metric"),
        *("split", "factor", "view", "layer", *(f"condition_{name}" for name in conditions)),
        *("source", "value", "n"),
    ]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        own = {f"condition_{name}": value for name, value in row["condition"].items()}
        writer.writerow(row | own)
    return stream.getvalue()
