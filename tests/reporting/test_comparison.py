"""Comparison of two runs: the same numbers in tables, page and JSON."""

from __future__ import annotations

from html import unescape

import pytest

from capsbench.reporting.comparison import compare
from tests.reporting.comparisons.two_runs import VIEWS, write_run
from tests.reporting.page_elements import Elements

HOSTILE = "<script>alert(1)</script> & \"'|*$x_1$ [bold]"
MODELS = ((HOSTILE, "cnn-small"), ("EM routing", "capsnet-em"))


@pytest.fixture
def comparison(tmp_path, write_benchmark, add_measure):
    rates = ({HOSTILE: 0.9, "EM routing": 0.8}, {HOSTILE: 0.6, "EM routing": 0.79})
    a, b = (
        write_run(tmp_path / name, write_benchmark, add_measure, own, models=MODELS)
        for name, own in zip("ab", rates, strict=True)
    )
    return compare(a, b, {})


def test_tables_are_in_the_order_of_their_importance(comparison):
    names = [table.name for table in comparison.tables()]
    assert names == ["differences", "views-1", "views-2"]
    assert "B is shown to be higher in 0 and lower in 2; not decided: 2" in comparison.verdict


def test_json_has_every_difference(comparison):
    content = comparison.as_json()
    rows = content["differences"]
    assert len(rows) == 2 * (2 + len(VIEWS))
    assert [row["view"] for row in rows[:4]] == [None] * 4
    assert {row["comparisons"] for row in rows[4:]} == {len(VIEWS)}
    for row in rows:
        assert row["difference"] == pytest.approx(row["b"] - row["a"])
        assert row["low"] < row["difference"] < row["high"]
    assert content["settings"] == content["not_compared"] == []


def test_the_page_has_every_cell_and_no_script_of_a_name(comparison, tmp_path):
    path = tmp_path / "pages/page.html"
    comparison.write_page(path)
    page = path.read_text("utf-8")
    text = unescape(page)
    for table in comparison.tables():
        for row in table.rows:
            for cell in row.contents():
                assert cell.text in text
    assert "<script>alert" not in page
    assert comparison.verdict in page
    assert "No setting differs" in page
    before = path.read_bytes()
    comparison.write_page(path)
    assert path.read_bytes() == before
    elements = Elements(page).elements
    kinds = [fields.get("type") for tag, fields in elements if tag == "script"]
    assert kinds.count("application/json") == 2  # a chart for each factor
    policy = next(fields["content"] or "" for _, fields in elements if "http-equiv" in fields)
    assert policy.count("sha256-") == kinds.count(None) == 3
    (legend,) = (fields for _, fields in elements if fields.get("data-label") == HOSTILE)
    assert legend["aria-pressed"] == "true"


def test_familiar_views_are_named_and_marked(comparison):
    table = comparison.tables()[1]
    marked = [row.contents()[0].text for row in table.rows if row.marked]
    assert marked[:3] == [
        "Rotation −15°, familiar",
        "Rotation 0°, familiar",
        "Rotation 15°, familiar",
    ]
    assert "Rotation 30°" in [row.contents()[0].text for row in table.rows if not row.marked]
