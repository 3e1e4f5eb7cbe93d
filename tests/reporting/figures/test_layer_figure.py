"""The figure through layers: every seed, means, intervals, controls, rows and columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capsbench.measures import LayerFigureSpec, LineSpec, load_measure
from capsbench.records import load_results
from capsbench.reporting.figures.layer_figure import layer_figure
from capsbench.values import Quantity, Value
from tests.reporting.drawn_lines import drawn_lines, has_line

GRID = {"rotation": {"start": -90, "stop": 180, "step": 90}}
LINEAR = {"measure": "linear-equivariance", "grid": GRID}
INVARIANCE = {"measure": "invariance-error", "grid": GRID}
READOUT = {"measure": "pose-readout", "factors": ["rotation"], "views": {"rotation": [-9, 9]}}
METRICS = ("r2_over_control", "explained", "shuffled_explained")
LAYERS = {"CNN": ("pixels", "conv", "probabilities"), "Dynamic routing": ("pixels", "poses")}
SEEDS = (0, 1, 2)
T_2 = 4.302653  # 97.5 % quantile of Student's t with two degrees of freedom


def spec_of(measure: str, name: str | None = None) -> LayerFigureSpec:
    specs = {spec.name: spec for spec in load_measure(measure).figures}
    spec = specs[name or measure]
    assert isinstance(spec, LayerFigureSpec)
    return spec


def linear_value(depth: int, metric: str, seed: int) -> float:
    """Return a different number for each layer, metric and seed."""
    return 0.1 * depth + 0.01 * seed + 0.3 * METRICS.index(metric)


def linear(label: str, seed: int) -> list[Value]:
    return [
        Quantity(metric=metric, layer=layer).with_value(linear_value(depth, metric, seed), 100)
        for depth, layer in enumerate(LAYERS[label])
        for metric in METRICS
    ]


def invariance(label: str, seed: int) -> list[Value]:
    values = [
        Quantity(metric="invariance_error", layer=layer, factor=factor).with_value(
            1.0 + depth + 0.1 * seed + (factor == "shift_x"), 100
        )
        for depth, layer in enumerate(LAYERS[label])
        for factor in ("rotation", "shift_x")
    ]
    one_view = Quantity(metric="invariance_error", layer="pixels", factor="rotation", view=90.0)
    all_views = Quantity(metric="invariance_error", layer="pixels")
    return [*values, one_view.with_value(77.0, 100), all_views.with_value(88.0, 100)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_benchmark, add_measure) -> Path:
    folder: Path = write_benchmark(
        tmp_path_factory.mktemp("runs"), seeds=SEEDS, diverged=(("EM routing", 1),)
    )
    for label in LAYERS:
        for seed in SEEDS:
            add_measure(folder, label, seed, LINEAR, linear(label, seed))
            add_measure(folder, label, seed, INVARIANCE, invariance(label, seed))
    return folder


def test_each_layer_has_every_seed_the_mean_and_the_interval(folder: Path):
    spec = spec_of("linear-equivariance")
    figure = layer_figure(load_results(folder), "linear-equivariance", spec)
    assert figure is not None
    cnn, dynamic, em = figure.axes
    for axes, label in ((cnn, "CNN"), (dynamic, "Dynamic routing")):
        assert [tick.get_text() for tick in axes.get_xticklabels()] == list(LAYERS[label])
        for metric in METRICS:
            depths = range(len(LAYERS[label]))
            means = [linear_value(depth, metric, 1) for depth in depths]
            assert has_line(axes, list(enumerate(means)))
            seeds = [
                (depth, linear_value(depth, metric, seed)) for depth in depths for seed in SEEDS
            ]
            assert has_line(axes, seeds)
            half = T_2 * 0.01 / np.sqrt(3)
            assert has_line(axes, [(0, means[0] - half), (0, means[0] + half)])
    assert [text.get_text() for text in em.texts] == ["not measured"]


def test_controls_are_dashed_and_have_no_model_s_color(folder: Path):
    spec = spec_of("linear-equivariance")
    figure = layer_figure(load_results(folder), "linear-equivariance", spec)
    assert figure is not None
    control = linear_value(1, "shuffled_explained", 1)
    (line,) = (
        line
        for line in figure.axes[0].get_lines()
        if np.shape(line.get_ydata()) == (3,)
        and np.isclose(np.asarray(line.get_ydata())[1], control)
    )
    assert line.get_linestyle() == "--"
    assert line.get_color() == figure.axes[1].title.get_color()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [line.name for line in spec.lines]


def test_each_factor_has_a_row_without_single_views(folder: Path):
    spec = spec_of("invariance-error", "invariance")
    figure = layer_figure(load_results(folder), "invariance-error", spec)
    assert figure is not None
    assert len(figure.axes) == 6
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == [
        "Rotation:\nerror",
        "Horizontal shift:\nerror",
    ]
    heights = [y for axes in figure.axes for line in drawn_lines(axes) for _, y in line]
    assert max(heights) < 10


def test_lines_of_one_metric_differ_by_condition(tmp_path: Path, write_benchmark, add_measure):
    folder = write_benchmark(tmp_path, seeds=(0,))
    quantity = Quantity(metric="r2", factor="rotation", layer="conv", condition={"fit": "one"})
    values = [quantity.with_value(0.25, 100)]
    values.append(quantity.model_copy(update={"condition": {}}).with_value(0.5, 100))
    other = quantity.model_copy(update={"condition": {"component": "cosine"}})
    add_measure(folder, "CNN", 0, READOUT, [*values, other.with_value(0.75, 100)])
    lines = (LineSpec("r2", "all"), LineSpec("r2", "one", condition={"fit": "one"}))
    spec = LayerFigureSpec(name="x", title="X", caption="X.", axis="R²", lines=lines)
    figure = layer_figure(load_results(folder), "pose-readout", spec)
    assert figure is not None
    heights = {y for line in drawn_lines(figure.axes[0]) for _, y in line}
    assert heights == {0.25, 0.5}
    assert len(figure.legends[0].get_texts()) == 2


def test_layers_after_the_prediction_are_not_on_the_path(
    tmp_path: Path, write_benchmark, add_measure
):
    folder = write_benchmark(tmp_path, seeds=SEEDS)
    names = ("pixels", "conv", "probabilities", "pose")
    values = [
        Quantity(metric="r2", factor="rotation", layer=name).with_value(0.1 * x, 100)
        for x, name in enumerate(names)
    ]
    for seed in SEEDS:
        add_measure(folder, "CNN", seed, READOUT, values)
    figure = layer_figure(load_results(folder), "pose-readout", spec_of("pose-readout"))
    assert figure is not None
    lines = drawn_lines(figure.axes[0])
    paths = [line for line in lines if len({x for x, _ in line}) == len(line) > 1]
    assert [[x for x, _ in path] for path in paths] == [[0, 1, 2]]


def test_shares_are_drawn_between_their_floor_and_one(folder: Path):
    spec = spec_of("linear-equivariance")
    assert [spec.height(value) for value in (-3.0, 0.2, 1.7)] == [-0.5, 0.2, 1.0]
    assert spec_of("invariance-error", "invariance").height(1.7) == 1.7
    figure = layer_figure(load_results(folder), "linear-equivariance", spec)
    assert figure is not None
    heights = [y for axes in figure.axes for line in drawn_lines(axes) for _, y in line]
    assert max(heights) <= 1
