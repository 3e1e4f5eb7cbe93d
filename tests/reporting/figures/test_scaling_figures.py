"""Accuracy against the number in which otherwise equal networks differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capsbench.records import BenchmarkFolder, BenchmarkRecord, ProtocolChanges, load_results
from capsbench.reporting.comparisons.scaling import size_arguments, size_curves
from capsbench.reporting.figures.scaling_figures import size_figure
from capsbench.schema import ModelEntry
from capsbench.values import Quantity

MODELS = (("four", "capsnet-dr"), ("one", "capsnet-dr"), ("two", "capsnet-dr"))
ARGUMENTS = {
    "four": {"channels": 16, "primary_types": 4, "primary_dim": 2},
    "one": {"channels": 16, "primary_types": 1, "primary_dim": 8},
    "two": {"channels": 16, "primary_types": 2, "primary_dim": 4},
}
SPLITS = {"measure": "accuracy-by-split"}
FAMILIAR = Quantity(metric="accuracy", split="familiar")
OBJECTS = Quantity(metric="object_accuracy", split="familiar")


def write(path: Path, write_benchmark, add_measure, arguments) -> Path:
    """Write the records of three sizes of one network."""
    folder: Path = write_benchmark(path, models=MODELS)
    file = BenchmarkFolder(folder).record
    record = BenchmarkRecord.load(file)
    models = tuple(
        entry.model_copy(update={"arguments": arguments[entry.label]})
        for entry in record.benchmark.models
    )
    benchmark = record.benchmark.model_copy(update={"models": models})
    record.model_copy(update={"benchmark": benchmark}).save(file)
    for label, each in ARGUMENTS.items():
        for seed in (0, 1):
            accuracy = 0.1 * each["primary_types"] + 0.01 * seed
            values = [FAMILIAR.with_value(accuracy, 400), OBJECTS.with_value(0.9, 400)]
            add_measure(folder, label, seed, SPLITS, values)
    return folder


def test_points_are_in_the_order_of_the_size(tmp_path, write_benchmark, add_measure):
    results = load_results(write(tmp_path, write_benchmark, add_measure, ARGUMENTS))
    assert size_arguments(results) == {"primary_types": [4, 1, 2], "primary_dim": [2, 8, 4]}
    curves = size_curves(results)
    titles = ["Familiar", "Familiar, by object", "Familiar", "Novel"]
    assert [curve.title for curve in curves] == titles
    whole, objects, familiar, novel = (curve.lines[""] for curve in curves)
    assert [x for x, _ in whole] == [1, 2, 4]
    assert [seed_values.mean for _, seed_values in whole] == pytest.approx([0.105, 0.205, 0.405])
    assert [len(points) for points in (objects, familiar, novel)] == [3, 3, 3]
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
    ids=["same size twice", "missing", "another argument"],
)
def test_networks_that_differ_otherwise_have_no_size(
    tmp_path, write_benchmark, add_measure, changed
):
    results = load_results(write(tmp_path, write_benchmark, add_measure, ARGUMENTS | changed))
    assert size_curves(results) == []
    assert size_figure(results) is None


def test_different_networks_have_no_size(tmp_path, write_benchmark):
    assert size_curves(load_results(write_benchmark(tmp_path))) == []


def test_an_added_model_is_no_size_of_the_network(tmp_path, write_benchmark, add_measure):
    folder = write(tmp_path, write_benchmark, add_measure, ARGUMENTS)
    record = BenchmarkRecord.load(BenchmarkFolder(folder).record)
    added = ModelEntry(name="net.py:Net", label="Mine")
    models = (*record.benchmark.models, added)
    update = {
        "benchmark": record.benchmark.model_copy(update={"models": models}),
        "changes": ProtocolChanges(added=(added,)),
        "cells": (*record.cells, record.cells[0].model_copy(update={"label": "Mine"})),
    }
    record.model_copy(update=update).save(BenchmarkFolder(folder).record)
    results = load_results(folder)
    assert size_arguments(results) == {"primary_types": [4, 1, 2], "primary_dim": [2, 8, 4]}
    assert size_figure(results) is not None
