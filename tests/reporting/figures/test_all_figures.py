"""All figures of a benchmark: those of its measures, also of a measure from outside."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from capsbench.measures import FigureSpec, LayerFigureSpec, load_measure
from capsbench.names import table
from capsbench.records import load_results
from capsbench.reporting import report
from capsbench.reporting.figures.all_figures import draw_figures, measure_figures
from capsbench.trusted_code import trust
from capsbench.values import Quantity

GRID = {"rotation": {"start": -90, "stop": 180, "step": 90}}
LINEAR = {"measure": "linear-equivariance", "grid": GRID}
EXPLAINED = Quantity(metric="explained", layer="pixels")
NOTE = "Layer <b>wide</b> is left out."
OUTSIDE = '''
from typing import ClassVar
from capsbench.measures import Measure, MeasureConfig, ValueSpec, ViewFigureSpec

class BrightnessConfig(MeasureConfig):
    measure: str
    @property
    def num_progress_steps(self):
        return 1

class Brightness(Measure[BrightnessConfig]):
    """Mean brightness of images at each view."""
    config = BrightnessConfig
    metrics: ClassVar = {"brightness": ValueSpec("Mean of pixels.", "number")}
    figures: ClassVar = (
        ViewFigureSpec(
            name="brightness", title="Brightness by view", caption="Mean of pixels.",
            metric="brightness", axis="mean of pixels",
        ),
    )
    @classmethod
    def compute(cls, config, model, data, context):
        raise NotImplementedError
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_benchmark, add_measure) -> Path:
    folder: Path = write_benchmark(tmp_path_factory.mktemp("runs"))
    for label, notes in (("CNN", (NOTE,)), ("Dynamic routing", ())):
        for seed in (0, 1):
            add_measure(folder, label, seed, LINEAR, [EXPLAINED.with_value(0.5, 100)], notes=notes)
    report.build(folder)
    return folder


def test_page_and_markdown_show_figures_with_captions_and_notes(folder: Path):
    page = (folder / "report/index.html").read_text()
    text = (folder / "report/report.md").read_text()
    figures = measure_figures(load_results(folder))
    assert set(figures) == {"linear-equivariance", "cost"}
    for name, each in figures.items():
        assert each.caption.title in page
        assert each.caption.notes == ({"CNN": (NOTE,)} if name == "linear-equivariance" else {})
    assert "Lenc and Vedaldi (2015)" in page
    assert "Lenc and Vedaldi (2015)" in text
    assert "&lt;b&gt;wide" in page
    assert "<b>wide" not in page + text


def test_accuracy_by_view_is_drawn_with_the_other_measures(folder: Path):
    assert set(draw_figures(load_results(folder))) == {
        "accuracy-by-view",
        "linear-equivariance",
        "cost",
    }


def test_a_measure_from_outside_is_drawn(tmp_path: Path, write_benchmark, add_measure):
    file = tmp_path / "brightness.py"
    file.write_text(OUTSIDE)
    folder = write_benchmark(tmp_path, seeds=(0,))
    values = [
        Quantity(metric="brightness", split="outside", factor="scale", view=at).with_value(
            3 * at, 9
        )
        for at in (0.5, 1.0, 2.0)
    ]
    results = load_results(folder)
    measure = {"measure": f"{file}:Brightness"}
    trust(measure["measure"])
    add_measure(folder, "CNN", 0, measure, values)
    results = load_results(folder)
    figure = measure_figures(results)["brightness"].figure
    (axes,) = figure.axes
    assert axes.get_ylabel() == "mean of pixels"
    assert np.asarray(axes.get_lines()[0].get_ydata()).tolist() == [1.5, 3.0, 6.0]
    assert axes.get_ylim()[1] > 6  # no axis of shares
    assert {text.get_text() for text in axes.texts} == {"familiar"}  # no chance


def test_a_measure_without_results_has_no_figure(tmp_path: Path, write_benchmark):
    assert set(measure_figures(load_results(write_benchmark(tmp_path, seeds=(0,))))) == {"cost"}


def test_an_unknown_kind_of_figure_is_an_error(folder: Path, monkeypatch):
    class Odd:
        figures: ClassVar = (FigureSpec(name="odd", title="Odd", caption="Odd."),)

    monkeypatch.setattr("capsbench.reporting.captions.load_measure", lambda _: Odd)
    with pytest.raises(TypeError, match="FigureSpec"):
        measure_figures(load_results(folder))


SPECS = [(name, spec) for name in table("measures") for spec in load_measure(name).figures]


@pytest.mark.parametrize(("measure", "spec"), SPECS, ids=lambda x: getattr(x, "name", ""))
def test_captions_are_sentences_and_metrics_exist(measure: str, spec: FigureSpec):
    assert spec.caption.endswith(".")
    assert "  " not in spec.caption
    lines = spec.lines if isinstance(spec, LayerFigureSpec) else getattr(spec, "further_lines", ())
    metrics = {line.metric for line in lines} | {getattr(spec, "metric", lines and lines[0].metric)}
    assert metrics <= load_measure(measure).metrics.keys()
