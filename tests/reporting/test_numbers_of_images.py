"""The number of images behind each value, if azimuths have 3, 1, 4 and 4 test images."""

import csv
import io
import re
from typing import Any

import numpy as np
import pytest

from capsbench.measures import MeasureResult
from capsbench.measures._objects import with_objects
from capsbench.reporting import protocol
from capsbench.reporting.comparisons.per_image import outcomes
from capsbench.reporting.evaluation import Evaluation
from capsbench.reporting.exports.csv_file import results_csv
from capsbench.reporting.figures.all_figures import measure_figures
from capsbench.reporting.tables.evaluation_tables import evaluation_tables
from capsbench.reporting.tables.joint_view_table import joint_view_table
from capsbench.reporting.tables.split_table import split_table
from capsbench.reporting.tables.summary_table import summary_table
from capsbench.reporting.tables.totals_table import totals_table
from capsbench.reporting.tables.view_tables import view_table
from capsbench.schema import Benchmark
from capsbench.statistics.intervals import bootstrap_over_images
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import UnevenTurntable
from tests.measures.computing import compute
from tests.measures.function_model import FunctionModel
from tests.measures.marked import by_first_pixel

AZIMUTH = {"start": 0, "stop": 270, "step": 90}
MEASURES: dict[str, dict[str, Any]] = {
    "accuracy-by-view": {"grid": {"azimuth": AZIMUTH}},
    "accuracy-by-joint-view": {
        "grid": {"azimuth": AZIMUTH, "shift_x": {"start": 0, "stop": 1, "step": 1}}
    },
    "accuracy-by-split": {"splits": ["familiar", "novel"]},
}
COUNTS = {0: 3, 90: 1, 180: 4, 270: 4}
ACCURACIES = {0: 2 / 3, 90: 1, 180: 1, 270: 0.5}


@pytest.fixture(scope="module")
def results() -> dict[str, MeasureResult]:
    data = UnevenTurntable(views=ViewRange(azimuth={"values": [0, 90]}))
    model = FunctionModel(by_first_pixel)
    by_measure = {}
    for name, arguments in MEASURES.items():
        result = compute(name, model, data, **arguments)
        arrays = with_objects(result.per_image, data)
        by_measure[name] = result._replace(per_image=arrays)
    return by_measure


@pytest.fixture
def evaluation(results, tiny_protocol):
    content = tiny_protocol | {
        "measures": [{"measure": name, **each} for name, each in MEASURES.items()],
        "views": {"azimuth": {"values": [0, 90]}},
        "data": {"name": "toynorb"},
    }
    return Evaluation(Benchmark.model_validate(content), "Net", "cpu", results)


def numbers_of_images(result):
    return {value.name: value.n for value in result.values}


def test_accuracy_by_view(results):
    result = results["accuracy-by-view"]
    at_views = {value.view: value for value in result.values if value.view is not None}
    assert {view: value.n for view, value in at_views.items()} == COUNTS
    assert {view: value.value for view, value in at_views.items()} == pytest.approx(ACCURACIES)
    counts = numbers_of_images(result)
    assert counts["accuracy[split=familiar]"] == 4
    assert counts["accuracy[split=novel]"] == 8
    assert counts["gap"] == 12
    assert counts["worst_accuracy"] == counts["worst_accuracy[factor=azimuth]"] == 4


def test_each_view_has_the_same_weight_and_each_image_of_a_split(results):
    by_view = {value.name: value.value for value in results["accuracy-by-view"].values}
    assert by_view["accuracy[split=familiar]"] == pytest.approx((2 / 3 + 1) / 2)
    by_split = {value.name: value.value for value in results["accuracy-by-split"].values}
    assert by_split["accuracy[split=familiar]"] == pytest.approx(3 / 4)


def test_accuracy_by_joint_view(results):
    result = results["accuracy-by-joint-view"]
    at_views = [value for value in result.values if value.view is not None]
    assert sorted(value.n for value in at_views) == sorted(2 * [*COUNTS.values()])
    counts = numbers_of_images(result)
    assert counts["accuracy[split=familiar]"] == 4
    lowest = min(value.value for value in at_views)
    fewest = min(value.n for value in at_views if value.value == lowest)
    assert counts["worst_accuracy"] == fewest == 1


def test_intervals_are_over_the_images_behind_a_value(results):
    result = results["accuracy-by-joint-view"]
    by_name = {
        quantity.name: each for quantity, each in outcomes(result.values, result.per_image).items()
    }
    familiar = by_name["accuracy[split=familiar]"]
    assert familiar.numbers.tolist() == [100, 101, 102, 103]
    assert familiar.objects is not None
    assert len(set(familiar.objects.tolist())) == 3
    # The mean of two views, of three images and of one: each image has the weight of its view.
    right = np.array([1, 1, 0, 1])
    weights = np.array([1 / 3, 1 / 3, 1 / 3, 1]) / 2
    value = right @ weights
    accuracies = np.array([2 / 3, 2 / 3, 2 / 3, 1])
    assert familiar.table[0] == pytest.approx(value + 4 * weights * (right - accuracies))
    assert familiar.table.mean() == pytest.approx(value)
    assert len(by_name["gap"].numbers) == 12
    interval = bootstrap_over_images(familiar.table).interval
    assert interval is None or interval[0] <= value <= interval[1]


def test_every_table_of_an_evaluation(evaluation):
    for table, (name, result) in zip(
        evaluation_tables(evaluation.results, evaluation.intervals),
        evaluation.results.items(),
        strict=True,
    ):
        assert table.title == name
        assert [row.cells[-1] for row in table.rows] == [f"{v.n}" for v in result.values]
    text = evaluation.table()
    assert re.search(r"azimuth 0°\s+0\.6667\s+\(n = 3\)", text)
    assert re.search(r"azimuth 90°\s+1\s+\(n = 1\)", text)


def test_rows_and_csv(evaluation):
    expected = [v.n for result in evaluation.results.values() for v in result.values]
    assert [row["n"] for row in evaluation.rows()] == expected
    rows = csv.DictReader(io.StringIO(results_csv(evaluation._as_results())))
    assert [int(row["n"]) for row in rows] == expected


def test_tables_and_captions_of_a_page(evaluation):
    records = evaluation._as_results()
    splits, joint, values = (
        split_table(records),
        joint_view_table(records),
        totals_table(list(records.cells)),
    )
    assert splits is not None
    assert joint is not None
    assert values is not None
    assert "on 1 to 4 test images at each view" in summary_table(records).caption
    assert "same weight" in summary_table(records).caption
    table = view_table(records, "azimuth")
    column = [each.title for each in table.columns].index("Images")
    assert [row.cells[column] for row in table.rows] == ["3", "1", "4", "4"]
    assert "familiar 4 and novel 8" in splits.caption
    assert "on 1 to 4 test images at each view" in joint.caption
    totals = {row.cells[:2]: row.cells[-1] for row in values.rows}
    assert totals["accuracy-by-view", "familiar accuracy"] == "4"
    assert totals["accuracy-by-view", "worst accuracy"] == "4"
    caption = measure_figures(records)["accuracy-by-joint-view"].caption.text
    assert "1 to 4 test images" in caption
    terms = dict(protocol.protocol_terms(records))
    assert "Every test image" not in terms["Test"]
