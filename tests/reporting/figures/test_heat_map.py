"""Heat maps over joint views: means, differences, familiar views and marks."""

from __future__ import annotations

import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import AxesImage

from capsbench.measures import load_measure
from capsbench.measures.accuracy_by_joint_view import AccuracyByJointViewConfig
from capsbench.records import Results, load_results
from capsbench.reporting import report
from capsbench.reporting.figures.all_figures import CaptionedFigure, measure_figures
from capsbench.reporting.figures.plotting import svg
from capsbench.reporting.tables.joint_view_table import joint_view_table
from capsbench.values import Quantity, Value
from capsbench.viewpoint.ranges import ViewRange

NAME = "accuracy-by-joint-view"
GRID = {
    "rotation": {"start": -30, "stop": 30, "step": 15},
    "scale": {"start": 0.5, "stop": 1.5, "step": 0.5},
}
VIEWS = ViewRange(rotation=(-15, 15), shift=(-2, 2))  # of the made-up benchmark
IMAGES = 40
MODELS = tuple((f"Model {index}", "cnn-small") for index in range(8))


def values_and_arrays(
    grid: dict[str, Any], index: int, seed: int, advantage: float
) -> tuple[list[Value], dict[str, np.ndarray[Any, Any]]]:
    """Return made-up values and outcomes; the advantage is that of the first view alone."""
    config = AccuracyByJointViewConfig.model_validate({"measure": NAME, "grid": grid})
    views = config.grid.views()
    random = np.random.default_rng((index, seed))
    correct = random.random((len(views), IMAGES)) < 0.5
    correct[0] = random.random(IMAGES) < 0.05 + advantage
    values = [
        Quantity(
            metric="accuracy",
            split=VIEWS.region(view),
            factor=view.components[0].factor,
            view=view.components[0].value,
            condition={view.components[1].factor: view.components[1].value},
        ).with_value(float(row.mean()), IMAGES)
        for view, row in zip(views, correct, strict=True)
    ]
    summaries = (Quantity(metric="accuracy", split=split) for split in ("familiar", "novel"))
    values += [summary.with_value(0.5, IMAGES) for summary in summaries]
    arrays = {"correct": correct, "evaluated": np.ones_like(correct), "index": np.arange(IMAGES)}
    return values, arrays


def written(
    folder: Path,
    write_benchmark: Any,
    add_measure: Any,
    *,
    models: int,
    seeds: int,
    grid: Any = GRID,
) -> Path:
    """Write a benchmark whose second and further models are better at the first view alone."""
    path: Path = write_benchmark(folder, seeds=tuple(range(seeds)), models=MODELS[:models])
    for index, (label, _) in enumerate(MODELS[:models]):
        for seed in range(seeds):
            values, arrays = values_and_arrays(grid, index, seed, 0.9 if index else 0)
            measure = {"measure": NAME, "grid": grid}
            add_measure(path, label, seed, measure, values, per_image=arrays)
    return path


def drawn(results: Results) -> CaptionedFigure:
    return measure_figures(results)[NAME]


def panels(figure: CaptionedFigure) -> list[Any]:
    axes = [each for each in figure.figure.axes if each.get_visible()]
    return [each for each in axes if any(isinstance(i, AxesImage) for i in each.images)]


def shown(axes: Any) -> np.ndarray[Any, Any]:
    return np.asarray(axes.images[0].get_array())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_benchmark, add_measure) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    return written(runs, write_benchmark, add_measure, models=3, seeds=3)


def test_maps_are_means_over_seeds_and_their_differences(folder: Path):
    results = load_results(folder)
    maps = panels(drawn(results))
    labels = list(results.by_label())
    assert [axes.get_title() for axes in maps] == [*labels, *labels[1:]]
    assert drawn(results).caption.text.endswith(f"The first model is {labels[0]}.")
    expected = {
        label: np.mean(
            [
                [
                    value.value
                    for value in cell.measures[NAME].values
                    if value.view is not None and value.metric == "accuracy"
                ]
                for cell in cells
            ],
            axis=0,
        ).reshape(5, 3)
        for label, cells in results.by_label().items()
    }
    for axes, label in zip(maps[:3], labels, strict=True):
        np.testing.assert_allclose(shown(axes), expected[label].T)
    for axes, label in zip(maps[3:], labels[1:], strict=True):
        np.testing.assert_allclose(shown(axes), (expected[label] - expected[labels[0]]).T)
    # One scale for all models, and one, symmetric about zero, for all differences.
    limits = [axes.images[0].get_clim() for axes in maps]
    assert limits[:3] == [(0, 1)] * 3
    assert limits[3] == limits[4]
    assert limits[3][0] == -limits[3][1]
    assert [axes.images[0].get_cmap().name for axes in maps[2:4]] == ["viridis", "RdBu"]


def test_the_axes_show_the_values_of_the_factors(folder: Path):
    (axes, *_) = panels(drawn(load_results(folder)))
    assert axes.get_xlabel().startswith("rotation")
    assert axes.get_ylabel().startswith("scale")
    assert axes.get_xlim() == (-37.5, 37.5)
    assert axes.get_ylim() == (0.25, 1.75)
    assert axes.images[0].origin == "lower"  # the first row of the array is the smallest scale


def test_the_outline_holds_the_familiar_views(folder: Path):
    for axes in panels(drawn(load_results(folder))):
        boxes = {patch.get_bbox().bounds for patch in axes.patches}
        assert boxes == {(-22.5, 0.75, 45, 0.5)}  # rotations of 15 degrees and less, at scale 1


def test_dots_mark_views_without_a_significant_difference(folder: Path):
    maps = panels(drawn(load_results(folder)))
    assert all(not axes.collections for axes in maps[:3])
    for axes in maps[3:]:
        (dots,) = axes.collections
        marked = {tuple(place) for place in np.asarray(dots.get_offsets()).tolist()}
        everywhere = set(product((-30, -15, 0, 15, 30), (0.5, 1, 1.5)))
        assert (-30, 0.5) in everywhere - marked  # the only true difference
        assert len(marked) >= 11  # of 14; an interval misses zero in one of twenty


def test_two_seeds_leave_no_mark(tmp_path: Path, write_benchmark, add_measure):
    folder = written(tmp_path, write_benchmark, add_measure, models=2, seeds=2)
    dots = [axes.collections for axes in panels(drawn(load_results(folder)))][-1]
    assert not sum(len(each.get_offsets()) for each in dots)


@pytest.mark.parametrize(
    ("models", "first", "second"), [(1, 2, 2), (5, 3, 2), (8, 25, 13)], ids=["1", "5", "8"]
)
def test_any_number_of_models_and_views(
    tmp_path: Path, write_benchmark, add_measure, models, first, second
):
    grid = {
        "rotation": {"start": -10 * (first - 1), "stop": 0, "step": 10},
        "scale": {"start": 0.4, "stop": 0.4 + 0.1 * (second - 1), "step": 0.1},
    }
    path = written(tmp_path, write_benchmark, add_measure, models=models, seeds=1, grid=grid)
    figure = drawn(load_results(path))
    maps = panels(figure)
    assert len(maps) == 2 * models - 1
    assert {shown(axes).shape for axes in maps} == {(second, first)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a layout without room
        assert svg(figure.figure) == svg(drawn(load_results(path)).figure)  # bit for bit


def test_page_and_markdown_show_the_maps_and_the_summaries(folder: Path):
    report.build(folder)
    page = (folder / "report/index.html").read_text()
    text = (folder / "report/report.md").read_text()
    results = load_results(folder)
    figure, (spec,) = drawn(results), load_measure(NAME).figures
    assert figure.caption.description.startswith(
        "Accuracy by joint view: rotation and scale. Model 0: 50.0 %"
    )
    assert "lowest" in figure.caption.description
    for each in (page, text):
        assert spec.caption in each
        assert figure.caption.description in each
        assert "Test images are shown at 15 joint views, two factors changed at once" in each
        assert "each rotation −30° to 30° in steps of 15° with each scale ×0.5 to ×1.5" in each
    table = joint_view_table(results)
    assert table is not None
    assert [column.title for column in table.columns] == ["Model", "Familiar", "Novel"]
    assert table.title in page and table.title in text
    lines = (folder / "report/results.csv").read_text().splitlines()
    columns = lines[0].split(",")
    rows = [dict(zip(columns, line.split(","), strict=True)) for line in lines[1:]]
    at_views = [row for row in rows if row["measure"] == NAME and row["view"]]
    assert len(at_views) == 15 * 9
    assert {row["condition_scale"] for row in at_views} == {"0.5", "1.0", "1.5"}


def test_without_records_there_is_no_map(tmp_path: Path, write_benchmark):
    assert joint_view_table(load_results(write_benchmark(tmp_path, seeds=(0,)))) is None
