from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from capsbench.records import load_results
from capsbench.reporting.captions import describe_curves
from capsbench.reporting.figures.view_figure import accuracy_by_view


def test_figure_shows_each_seed_and_the_mean(tmp_path: Path, write_benchmark):
    results = load_results(write_benchmark(tmp_path))
    figure = accuracy_by_view(results, ["rotation"])
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    seeds = [
        (value.view, value.value)
        for cell in results.by_label()["CNN"]
        for value in cell.measures["accuracy-by-view"].select(factor="rotation")
        if value.view is not None and value.metric == "accuracy"
    ]
    marks = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(sorted(marks.tolist()), sorted(seeds))
    mean = np.array(sorted(seeds))[:, 1].reshape(-1, 2).mean(axis=1)
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata()), mean)
    chance = [line for line in axes.lines if np.allclose(line.get_ydata(), 0.1)]
    assert len(chance) == 1
    assert {text.get_text() for text in axes.texts} == {"familiar", "chance"}


def test_all_factors_have_a_panel(tmp_path: Path, write_benchmark):
    figure = accuracy_by_view(load_results(write_benchmark(tmp_path)))
    assert figure is not None
    labels = [axes.get_xlabel().partition(" (")[0] for axes in figure.axes]
    assert labels == ["rotation", "horizontal shift", "vertical shift", "scale"]


@pytest.mark.parametrize(("seeds", "bands"), [((0, 1), 0), ((0, 1, 2), 3)])
def test_bands_are_drawn_from_three_seeds(tmp_path: Path, write_benchmark, seeds, bands):
    results = load_results(write_benchmark(tmp_path, seeds=seeds))
    figure = accuracy_by_view(results, ["scale"])
    assert figure is not None
    filled = [c for c in figure.axes[0].collections if type(c).__name__.startswith("FillBetween")]
    assert len(filled) == bands


def test_curves_are_described_in_words(tmp_path: Path, write_benchmark):
    results = load_results(write_benchmark(tmp_path, seeds=(0,), diverged=(("CNN", 0),)))
    text = describe_curves(results, "rotation")
    assert text.startswith("Accuracy against rotation")
    assert "CNN" not in text
    (cell,) = results.by_label()["EM routing"]
    (value,) = cell.measures["accuracy-by-view"].select(
        metric="accuracy", split="novel", factor="rotation", view=None
    )
    assert f"{100 * value.value:.1f} % at novel views." in text


def test_no_results_no_figure(tmp_path: Path, write_benchmark):
    models = (("CNN", "cnn-small"),)
    folder = write_benchmark(tmp_path, seeds=(0,), models=models, unfinished=(("CNN", 0),))
    assert accuracy_by_view(load_results(folder)) is None
