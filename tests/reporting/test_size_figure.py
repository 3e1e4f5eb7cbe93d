"""Accuracy against the number in which otherwise equal networks differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capsbench.records import read_json, write_json
from capsbench.reporting.results import load
from capsbench.reporting.size_figure import differing, size_figure, sizes

MODELS = (("four", "capsnet-dr"), ("one", "capsnet-dr"), ("two", "capsnet-dr"))
ARGUMENTS = {
    "four": {"channels": 16, "primary_types": 4, "primary_dim": 2},
    "one": {"channels": 16, "primary_types": 1, "primary_dim": 8},
    "two": {"channels": 16, "primary_types": 2, "primary_dim": 4},
}
SPLITS = {"measure": "accuracy-by-split"}


def write(path, write_benchmark, add_measure, arguments) -> Path:
    made: Path = write_benchmark(path, models=MODELS)
    content = read_json(made / "benchmark.json")
    for entry in content["benchmark"]["models"]:
        entry["arguments"] = arguments[entry["label"]]
    write_json(made / "benchmark.json", content)
    for label, each in ARGUMENTS.items():
        for seed in (0, 1):
            values = {"familiar/accuracy": 0.1 * each["primary_types"] + 0.01 * seed}
            values["familiar/objects/accuracy"] = 0.9
            add_measure(made, label, seed, SPLITS, values | {"familiar/images": 400.0})
    return made


def test_points_stand_in_the_order_of_the_number(tmp_path, write_benchmark, add_measure):
    results = load(write(tmp_path, write_benchmark, add_measure, ARGUMENTS))
    assert differing(results) == {"primary_types": [4, 1, 2], "primary_dim": [2, 8, 4]}
    whole, objects, familiar, novel = sizes(results)
    assert (whole.name, objects.name) == ("Familiar", "Familiar, by object")
    assert [x for x, _ in whole.points] == [1, 2, 4]
    assert [over.mean for _, over in whole.points] == pytest.approx([0.105, 0.205, 0.405])
    assert [len(curve.points) for curve in (objects, familiar, novel)] == [3, 3, 3]
    figure = size_figure(results)
    assert figure is not None
    (axes,) = figure.axes
    assert axes.get_xlabel() == "primary_types (and primary_dim)"
    first = axes.get_lines()[0]
    assert np.asarray(first.get_xdata()).tolist() == [1, 2, 4]
    assert np.asarray(first.get_ydata()) == pytest.approx([0.105, 0.205, 0.405])


@pytest.mark.parametrize(
    "changed",
    [
        {"two": {"channels": 16, "primary_types": 4, "primary_dim": 4}},
        {"two": {"channels": 16}},
        {"two": ARGUMENTS["two"] | {"decoder": []}},
    ],
    ids=["twice the same", "missing", "something else"],
)
def test_no_curve_where_they_differ_in_other_ways(tmp_path, write_benchmark, add_measure, changed):
    results = load(write(tmp_path, write_benchmark, add_measure, ARGUMENTS | changed))
    assert sizes(results) == []
    assert size_figure(results) is None


def test_no_curve_of_different_networks(tmp_path, write_benchmark):
    assert sizes(load(write_benchmark(tmp_path))) == []
