"""Accuracy against parameters and operations."""

from __future__ import annotations

import numpy as np
import pytest

from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    CellFolder,
    ProtocolChanges,
    TrainingRecord,
    load_results,
)
from capsbench.reporting.comparisons.costs import UNCOUNTED, cost_caption, cost_curves, cost_notes
from capsbench.reporting.figures.cost_figure import cost_figure
from capsbench.schema import ModelEntry
from capsbench.values import Quantity

FAMILIAR = Quantity(metric="accuracy", split="familiar")
SIZES = (("four", "capsnet-dr"), ("one", "capsnet-dr"), ("two", "capsnet-dr"))


@pytest.fixture
def count():
    """Return a function that records operations with the trainings of a benchmark."""

    def write(folder, flops):
        for cell in BenchmarkRecord.load(BenchmarkFolder(folder).record).cells:
            path = CellFolder(folder.parent / cell.path).training
            record = TrainingRecord.load(path)
            record.model_copy(update={"flops": flops.get(cell.label)}).save(path)
        return load_results(folder)

    return write


def points(curve):
    """Return the place and the mean of every point, by line."""
    return {
        name: [(x, pytest.approx(numbers.mean)) for x, numbers in line]
        for name, line in curve.lines.items()
    }


def test_each_model_has_a_place_on_both_axes(tmp_path, write_benchmark, count):
    results = count(write_benchmark(tmp_path), {"CNN": 4_000, "Dynamic routing": 1_000})
    costs = cost_curves(results)
    assert list(costs) == ["parameters", "flops"]
    familiar, novel = costs["parameters"]
    assert (familiar.title, novel.title) == ("Familiar", "Novel")
    means = {
        title: np.mean([cell.measures["accuracy-by-view"].get(FAMILIAR) for cell in cells])
        for title, cells in results.by_label().items()
    }
    assert points(familiar) == {
        "CNN": [(50_000, means["CNN"])],
        "Dynamic routing": [(51_000, means["Dynamic routing"])],
        "EM routing": [(52_000, means["EM routing"])],
    }
    assert {name: [x for x, _ in line] for name, line in costs["flops"][1].lines.items()} == {
        "CNN": [4_000],
        "Dynamic routing": [1_000],
        "EM routing": [],
    }
    assert cost_notes(results) == {"EM routing": (UNCOUNTED,)}
    figure = cost_figure(results)
    assert figure is not None
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "",
        "",
        "parameters",
        "operations of one image (FLOPs)",
    ]
    figure.canvas.draw()
    labels = [text.get_text() for axes in figure.axes for text in axes.get_xticklabels()]
    assert "2k" in labels and not any("$" in label for label in labels)
    assert "multiply-add counted as two" in cost_caption(results)


def test_operations_that_were_not_recorded_leave_one_axis(tmp_path, write_benchmark, count):
    results = count(write_benchmark(tmp_path), {})
    assert list(cost_curves(results)) == ["parameters"]
    assert set(cost_notes(results).values()) == {(UNCOUNTED,)}


def test_networks_of_one_cost_have_no_figure(tmp_path, write_benchmark, count):
    folder = write_benchmark(tmp_path, models=(("CNN", "cnn-small"),))
    results = count(folder, {"CNN": 4_000})
    assert cost_curves(results) == {}
    assert cost_figure(results) is None


def test_a_study_of_sizes_has_a_line_for_each_kind(tmp_path, write_benchmark):
    results = load_results(write_benchmark(tmp_path, models=SIZES))
    familiar, _ = cost_curves(results)["parameters"]
    assert [x for x, _ in familiar.lines["capsnet-dr"]] == [50_000, 51_000, 52_000]
    assert cost_caption(results).startswith("Each kind of network is a line.")


def test_a_kind_of_two_sizes_makes_no_study(tmp_path, write_benchmark):
    models = (*SIZES, ("CNN", "cnn-small"))
    familiar, _ = cost_curves(load_results(write_benchmark(tmp_path, models=models)))["parameters"]
    assert list(familiar.lines) == ["four", "one", "two", "CNN"]


def test_a_model_that_was_added_is_a_mark_beside_the_lines(tmp_path, write_benchmark):
    folder = write_benchmark(tmp_path, models=SIZES)
    record = BenchmarkRecord.load(BenchmarkFolder(folder).record)
    added = ModelEntry(name="cnn-small", label="Mine")
    mine = record.cells[0].model_copy(update={"label": "Mine", "model": "cnn-small"})
    record.model_copy(
        update={
            "benchmark": record.benchmark.model_copy(
                update={"models": (*record.benchmark.models, added)}
            ),
            "changes": ProtocolChanges(added=(added,)),
            "cells": (*record.cells, mine),
        }
    ).save(BenchmarkFolder(folder).record)
    familiar, _ = cost_curves(load_results(folder))["parameters"]
    assert {name: len(line) for name, line in familiar.lines.items()} == {
        "capsnet-dr": 3,
        "Mine": 1,
    }
