"""Tables as CSV and JSON: numbers in place of texts, and nothing that a spreadsheet computes."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from capsbench.reporting.comparisons.aggregate import SeedValues
from capsbench.reporting.tables.mean_cell import mean_cell
from capsbench.reporting.tables.render_data import as_json, render_csv
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)

THREE = mean_cell(SeedValues({0: 0.25, 1: 0.5, 2: 0.75})) or TableCell("")
TABLE = Table(
    name="summary",
    title="Result",
    columns=(*text_columns("Model"), *number_columns("Familiar", "Parameters", "Seeds")),
    rows=(
        TableRow(("=CNN", replace(THREE, best=True), TableCell("1,200", number=1200), "3 of 3")),
        TableRow(("other", "never reached", None, None)),
    ),
    caption="Accuracy.",
    notes=("other: diverged",),
)


def test_csv_has_numbers_with_their_intervals():
    first, second = csv.DictReader(io.StringIO(render_csv(TABLE)))
    assert float(first["Familiar"]) == 0.5
    low, high = (float(first[f"Familiar: {end}"]) for end in ("low", "high"))
    assert THREE.limits == (low, high) and low < 0.5 < high
    assert (first["Familiar: seeds"], first["Parameters"], first["Seeds"]) == (
        "3",
        "1200",
        "3 of 3",
    )
    assert first["Model"] == "'=CNN"
    assert "Parameters: low" not in first
    assert {name: text for name, text in second.items() if text} == {
        "Model": "other",
        "Familiar": "never reached",
    }


def test_json_has_texts_and_numbers():
    content = as_json(TABLE)
    assert content["columns"] == ["Model", "Familiar", "Parameters", "Seeds"]
    mean, parameters = content["rows"][0][1:3]
    low, high = THREE.limits or (None, None)
    assert mean == {
        "text": "50.0 %",
        "number": 0.5,
        "low": low,
        "high": high,
        "seeds": 3,
        "best": True,
    }
    assert parameters == {"text": "1,200", "number": 1200}
    assert content["rows"][1][3] == {"text": "–"}
    assert (content["caption"], content["notes"]) == ("Accuracy.", ["other: diverged"])
