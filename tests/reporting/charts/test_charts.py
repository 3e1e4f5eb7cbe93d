"""Charts: their rows are the numbers of the records, and Vega draws every specification."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from capsbench.measures.accuracy_by_view import AccuracyByView
from capsbench.records import Results, load_results
from capsbench.reporting.charts.all_charts import measure_charts
from capsbench.reporting.charts.look import THEME, Models
from capsbench.reporting.charts.summary_chart import summary_charts
from capsbench.reporting.charts.training_charts import training_charts
from capsbench.reporting.charts.view_chart import view_chart
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW, aggregate_seeds, curve
from capsbench.reporting.comparisons.confusions import model_confusions
from capsbench.reporting.gallery import gallery
from capsbench.values import Quantity

HOSTILE = "_<script>alert(1)</script> & \"'|*$x_1$ [bold].a\\b"
MODELS = (("CNN", "cnn-small"), (HOSTILE, "capsnet-dr"), ("EM routing", "capsnet-em"))
(SPEC,) = AccuracyByView.figures


def drawn(spec: dict[str, Any]) -> ET.Element:
    """Return a chart as Vega draws it, as SVG."""
    return ET.fromstring(vl_convert.vegalite_to_svg(spec | {"width": 300}, config=THEME))


def texts(svg: ET.Element) -> list[str]:
    return [e.text or "" for e in svg.iter() if e.tag.endswith("}text")]


def symbols(svg: ET.Element) -> int:
    """Return the number of marks of seeds that are drawn."""
    groups = [e for e in svg.iter() if "mark-symbol" in e.get("class", "")]
    return sum(1 for group in groups for path in group if path.get("opacity") != "0")


def rows(spec: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """Return the rows of all data of a chart that have a field."""
    return [row for each in spec["datasets"].values() for row in each if field in row]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, write_benchmark) -> Results:
    folder: Path = write_benchmark(
        tmp_path_factory.mktemp("runs"), models=MODELS, seeds=(0, 1, 2), diverged=(("CNN", 1),)
    )
    return load_results(folder)


def test_lines_and_marks_are_the_numbers_of_the_records(results: Results):
    spec = view_chart(results, ACCURACY_BY_VIEW, AccuracyByView, SPEC, "rotation")
    means = {(row["model"], row["x"]): row for row in rows(spec, "mean")}
    seeds = {(row["model"], row["x"], row["seed"]): row for row in rows(spec, "value")}
    num_seeds = 0
    for title, cells in results.by_label().items():
        points = curve(cells, "rotation")
        assert points
        for point in points:
            row = means.pop((title, point.view))
            assert row["mean"] == pytest.approx(point.seed_values.mean)
            limits = point.seed_values.interval
            assert (row["low"], row["high"]) == (limits or (None, None))
            assert row["n"] == str(point.seed_values.n)
            for seed, value in point.seed_values.values.items():
                num_seeds += 1
                assert seeds.pop((title, point.view, str(seed)))["value"] == value
    assert not means and not seeds
    assert symbols(drawn(spec)) == num_seeds


def test_hidden_models_and_seeds_are_not_drawn(results: Results):
    spec = view_chart(results, ACCURACY_BY_VIEW, AccuracyByView, SPEC, "rotation")
    everything = symbols(drawn(spec))
    shown: list[dict[str, Any]] = [
        {"name": "hidden", "value": [HOSTILE]},
        {"name": "seeds", "value": True},
    ]
    one_less = symbols(drawn(spec | {"params": shown}))
    assert one_less == sum(row["model"] != HOSTILE for row in rows(spec, "seed")) < everything
    shown[1]["value"] = False
    assert symbols(drawn(spec | {"params": shown})) == 0


def test_the_read_out_of_a_view_has_every_model(results: Results):
    spec = view_chart(results, ACCURACY_BY_VIEW, AccuracyByView, SPEC, "scale")
    columns = rows(spec, "m0")
    assert len(columns) == len({row["x"] for row in rows(spec, "mean")})
    assert [row["end"] for row in columns[:-1]] == [row["x"] for row in columns[1:]]
    (tooltip,) = [
        layer["encoding"]["tooltip"]
        for layer in spec["layer"]
        if layer["mark"].get("opacity") == 0 and layer["mark"]["type"] == "rect"
    ]
    assert [each["title"] for each in tooltip] == ["view", *(label for label, _ in MODELS)]
    points = curve(results.by_label()["CNN"], "scale")
    assert columns[0]["m0"] == f"{100 * points[0].seed_values.mean:.1f} %"


def test_the_summary_shows_means_intervals_and_seeds(results: Results):
    panels = summary_charts(results)
    assert [panel.title for panel in panels] == ["Familiar", "Novel"]
    for panel, split in zip(panels, ("familiar", "novel"), strict=True):
        for row in rows(panel.spec, "mean"):
            cells = results.by_label()[row["model"]]
            quantity = Quantity(metric="accuracy", split=split)
            values = aggregate_seeds(cells, ACCURACY_BY_VIEW, quantity)
            assert values is not None
            assert row["values"] == values.shown
            assert row["mean"] == values.mean
            assert (row["low"], row["high"]) == (values.interval or (None, None))
        written = texts(drawn(panel.spec))
        for label, _ in MODELS:  # a long name is cut, with its whole text in the read-out
            assert any(text.startswith(label[:20]) for text in written)
        assert all(row["text"] in written for row in rows(panel.spec, "mean"))


def test_a_training_is_drawn_with_its_selected_step(results: Results):
    cells = results.by_label()["EM routing"]
    loss, accuracy = training_charts(cells, 2)
    assert {row["seed"] for row in rows(loss.spec, "loss")} == {"0", "1", "2"}
    assert sum(row["selected"] for row in rows(accuracy.spec, "accuracy")) == 3
    assert drawn(loss.spec) is not None
    assert "validation accuracy" in texts(drawn(accuracy.spec))
    assert list(training_charts([], 0)) == []


def test_names_are_text_in_every_chart(results: Results):
    panels = [panel for section in measure_charts(results) for panel in section.panels]
    assert panels
    for panel in panels:
        svg = drawn(panel.spec)
        assert not [e for e in svg.iter() if e.tag.endswith(("script", "}a"))]


def test_the_same_records_give_the_same_charts(results: Results):
    def once() -> str:
        return json.dumps([panel.spec for each in measure_charts(results) for panel in each.panels])

    assert once() == once()


def test_names_that_are_no_models_get_a_legend(results: Results):
    models = Models.of(results)
    assert models.named(["CNN", HOSTILE]) is models
    assert not models.need_a_legend
    others = models.named(["familiar", "novel"])
    assert others.need_a_legend
    assert others.places == {"familiar": 0, "novel": 1}


def test_records_without_predictions_have_no_gallery(results: Results):
    assert gallery(results) is None
    assert model_confusions(results) is None
