"""Numbers of a cell: points of lines, or of the summary, never both."""

import pytest

from capsbench.records import load_results
from capsbench.reporting.wandb.evaluation import Point, points, summary, values_table
from capsbench.values import Quantity

GRID = {"rotation": {"start": -90, "stop": 90, "step": 90}}
FGSM = Quantity(metric="accuracy", condition={"method": "fgsm", "epsilon": 0.1})
UNCHANGED = Quantity(metric="accuracy", condition={"attack": "none"})
EARLY, LATE = (
    Quantity(metric="invariance_error", factor="rotation", layer=layer) for layer in ("a.0", "b")
)


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
    assert [(each.x, each.y) for each in found] == recorded


def test_numbers_of_attacks_are_lines_over_their_size(cell):
    name = "attacks_accuracy_method_fgsm_by_epsilon"
    expected = Point("condition_epsilon", 0.1, name, "accuracy", 0.25)
    assert list(points(cell, "attacks")) == [expected]


def test_numbers_of_layers_are_lines_over_the_layers(cell):
    name, metric = "invariance_error_invariance_error_rotation_by_layer", "invariance_error"
    expected = [
        Point("layer_number", 0, name, metric, 0.5),
        Point("layer_number", 1, name, metric, 0.125),
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
