"""Numbers of a cell: points of lines, or of the summary, never both."""

import numpy as np
import pytest

from capsbench.records import load_results
from capsbench.reporting.wandb.evaluation import (
    Point,
    fill_evaluation,
    points,
    renderings,
    summary,
    values_table,
)
from capsbench.reporting.wandb.run import Destination, begin
from capsbench.values import Quantity
from tests.reporting.wandb.reading import read_runs

GRID = {"rotation": {"start": -90, "stop": 90, "step": 90}}
FGSM = Quantity(metric="accuracy", condition={"method": "fgsm", "epsilon": 0.1})
UNCHANGED = Quantity(metric="accuracy", condition={"attack": "none"})
EARLY, LATE = (
    Quantity(metric="invariance_error", factor="rotation", layer=layer) for layer in ("a.0", "b")
)


RENDERING = Quantity(metric="rendering_error", split="shift")


@pytest.fixture
def cell(tmp_path, write_benchmark, add_measure):
    folder = write_benchmark(tmp_path, seeds=(0,), models=(("CNN", "cnn-small"),))
    attacks = [FGSM.with_value(0.25, 400), UNCHANGED.with_value(0.9, 400)]
    add_measure(folder, "CNN", 0, {"measure": "attacks"}, attacks)
    layers = [EARLY.with_value(0.5, 400), LATE.with_value(0.125, 400)]
    config = {"measure": "invariance-error", "grid": GRID, "layers": ["a.0", "b"]}
    add_measure(folder, "CNN", 0, config, layers)
    return load_results(folder).cells[0]


def test_numbers_of_views_are_lines_over_the_views(cell):
    found = [each for each in points(cell, "accuracy-by-view") if each.axis == "view_rotation"]
    assert {each.name for each in found} == {"accuracy_by_view_accuracy_rotation_by_view"}
    values = cell.measures["accuracy-by-view"].select(metric="accuracy", factor="rotation")
    recorded = [(v.view, v.value) for v in values if v.view is not None]
    assert [(each.x, each.value.value) for each in found] == recorded


def test_numbers_of_attacks_are_lines_over_their_size(cell):
    name = "attacks_accuracy_method_fgsm_by_epsilon"
    expected = Point("condition_epsilon", 0.1, name, FGSM.with_value(0.25, 400))
    assert list(points(cell, "attacks")) == [expected]


def test_numbers_of_layers_are_lines_over_the_layers(cell):
    name = "invariance_error_invariance_error_rotation_by_layer"
    expected = [
        Point("layer_number", 0, name, EARLY.with_value(0.5, 400)),
        Point("layer_number", 1, name, LATE.with_value(0.125, 400)),
    ]
    assert list(points(cell, "invariance-error")) == expected


def test_all_other_numbers_are_in_the_summary(cell):
    numbers = summary(cell)
    assert numbers["attacks_accuracy_attack_none"] == 0.9
    assert numbers["status"] == "trained"
    assert 0 < numbers["accuracy_by_view_accuracy_novel"] < 1
    assert not [name for name in numbers if "epsilon" in name or "invariance" in name]


def test_the_table_has_all_numbers(cell):
    columns, rows = values_table(cell)
    assert len(rows) == sum(len(record.values) for record in cell.measures.values())
    assert {"measure", "metric", "layer", "condition_epsilon", "value", "n"} <= set(columns)


def test_an_image_is_beside_what_is_expected_and_rendered(tmp_path, write_benchmark, add_measure):
    folder = write_benchmark(tmp_path, seeds=(0,), models=(("CNN", "cnn-small"),))
    config = {"measure": "rendering-error", "views": {"shift": {"shift": [-2, 2]}}}
    pictures = np.arange(6, dtype=np.uint8).repeat(16).reshape(2, 3, 1, 4, 4)
    arrays = {
        "index": np.array([7, 8, 9]),
        "rendering_error[split=shift]": np.array([0.5, 0.25, 0.75]),
        "renderings[split=shift]": pictures,
        "rendered[split=shift]": np.array([0, 2]),
    }
    add_measure(folder, "CNN", 0, config, [RENDERING.with_value(0.5, 3)], per_image=arrays)
    (cell,) = load_results(folder).cells
    first, last = renderings(cell)
    assert (first.views, first.number, first.error) == ("shift", 7, 0.5)
    assert (last.views, last.number, last.error) == ("shift", 9, 0.75)
    np.testing.assert_array_equal([first.pictures, last.pictures], pictures)
    run = begin(
        Destination(tmp_path, "offline"),
        run_id="r",
        name="r",
        group="g",
        job_type="evaluate",
        config={},
    )
    assert run is not None
    fill_evaluation(run, cell)
    run.finish()
    (read,) = read_runs(tmp_path)
    columns, rows = read.table("reconstructions")
    assert columns == ["views", "number", "image", "expected", "rendered", "rendering_error"]
    assert [row[1] for row in rows] == [7, 9]
    kinds = read.column_types("reconstructions")
    assert all(kinds[name] == {"image-file"} for name in ("image", "expected", "rendered"))
    assert (kinds["views"], kinds["rendering_error"]) == ({"string"}, {"number"})


def test_a_cell_without_renderings_has_no_rows_of_them(cell):
    assert list(renderings(cell)) == []
