"""An evaluation in a notebook: a table per measure, with intervals, notes and escaped names."""

import numpy as np
import pytest

from capsbench.measures import MeasureResult
from capsbench.reporting.evaluation import Evaluation
from capsbench.reporting.tables.evaluation_tables import evaluation_tables
from capsbench.values import Quantity

NOVEL = Quantity(metric="accuracy", split="novel")


@pytest.fixture
def evaluation(tiny_benchmark):
    correct = np.arange(100) % 4 == 0
    arrays = {NOVEL.name: correct, "index": np.arange(100)}
    measured = MeasureResult((NOVEL.with_value(0.25, 100),), arrays)
    missing = MeasureResult((), {}, ("not measured: no <i>layers</i>",))
    results = {"accuracy-by-view": measured, "filters": missing}
    return Evaluation(tiny_benchmark, "<b>Net</b>", "cpu", results)


def test_a_table_for_each_measure(evaluation):
    measured, missing = evaluation_tables(evaluation.results, evaluation.intervals)
    low, high = evaluation.intervals["accuracy-by-view"][NOVEL]
    assert measured.title == "accuracy-by-view"
    assert measured.rows[0].cells == ("novel accuracy", "0.25", f"{low:.4g} to {high:.4g}", "100")
    assert (missing.rows, missing.notes) == ((), ("not measured: no <i>layers</i>",))


def test_a_notebook_shows_them_escaped(evaluation):
    html = evaluation._repr_html_()
    assert html.count("<table") == 2
    assert "novel accuracy" in html
    assert "&lt;b&gt;Net&lt;/b&gt;" in html
    assert "&lt;i&gt;layers" in html
    assert "<b>Net" not in html
    assert "<i>" not in html


def test_values_without_images_have_no_number_of_images():
    values = [Quantity(metric=name).with_value(1.0, n) for name, n in (("a", 0), ("b", 1200))]
    (table,) = evaluation_tables({"filters": MeasureResult(values, {})}, {"filters": {}})
    assert [row.cells[-1] for row in table.rows] == [None, "1,200"]
