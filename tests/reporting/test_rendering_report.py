"""Errors of drawings in every form of the report, also for models that draw nothing."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    CellFolder,
    MeasureRecord,
    load_results,
)
from capsbench.reporting import markdown, report
from capsbench.reporting.drawing_table import drawing_table
from capsbench.reporting.result_tables import result_tables
from capsbench.reporting.summary_table import summary_table
from capsbench.reporting.terminal import result_tables as terminal_tables
from capsbench.reporting.totals_table import totals_table
from capsbench.running.mirror import mirror_benchmark
from capsbench.schema import Benchmark
from capsbench.values import Quantity

MODELS = (("Autoencoder", "capsnet-dr"), ("CNN", "cnn-small"))
CONFIG = {"measure": "rendering-error", "views": {"shift": {"shift": (-3, 3)}, "still": {}}}
BASELINES = {
    ("copy_error", "shift"): 0.08,
    ("constant_error", "shift"): 0.06,
    ("copy_error", "still"): 0.0,
    ("constant_error", "still"): 0.05,
}
ERROR = "0.0250 (0.0200, 0.0300; n = 2)"


def errors(label: str, seed: int) -> dict[tuple[str, str], float]:
    """Return the errors by metric and range; a CNN cannot draw."""
    error = 0.02 + 0.01 * seed
    drawn = {
        ("rendering_error", "shift"): error,
        ("error_relative_to_copy", "shift"): error / 0.08,
        ("rendering_error", "still"): error,
    }
    return BASELINES | (drawn if label == "Autoencoder" else {})


@pytest.fixture(scope="module")
def write_rendering(write_benchmark):
    """Return a function that writes records with the measure, besides accuracy or alone."""

    def write(runs: Path, *, models=MODELS, alone=False, **more) -> Path:
        folder: Path = write_benchmark(runs, models=models, **more)
        file = BenchmarkFolder(folder).record
        record = BenchmarkRecord.load(file)
        measures = [CONFIG] if alone else [*record.benchmark.measures, CONFIG]
        content = record.benchmark.model_dump() | {"measures": measures}
        cells = []
        for cell in record.cells:
            names = {"rendering-error": "rendering-error-0123456789ab"}
            files = CellFolder(runs / cell.path)
            accuracy = files.measure(cell.measures["accuracy-by-view"])
            cells.append(
                cell.model_copy(update={"measures": names if alone else cell.measures | names})
            )
            if accuracy.is_file():
                values = [
                    Quantity(metric=metric, split=split).with_value(value, 400)
                    for (metric, split), value in errors(cell.label, cell.seed).items()
                ]
                measured = MeasureRecord.load(accuracy)
                changes = {"measure": "rendering-error", "values": tuple(values)}
                measured.model_copy(update=changes).save(files.measure(names["rendering-error"]))
                if alone:
                    accuracy.unlink()
        changes = {"benchmark": Benchmark.model_validate(content), "cells": tuple(cells)}
        changes |= {"examples": None} if alone else {}
        record.model_copy(update=changes).save(file)
        return folder

    return write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_rendering) -> Path:
    folder: Path = write_rendering(tmp_path_factory.mktemp("runs"))
    report.build(folder)
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, write_rendering) -> Path:
    folder: Path = write_rendering(tmp_path_factory.mktemp("runs"), alone=True)
    report.build(folder)
    return folder


def texts(folder: Path) -> tuple[str, str]:
    """Return the output of the terminal and the report in Markdown."""
    results = load_results(folder)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(terminal_tables(results))
    return console.export_text(), markdown.render(results, result_tables(results, []), {})


def all_forms(folder: Path) -> tuple[str, str, str]:
    """Return `texts` and the page."""
    return *texts(folder), (folder / "report/index.html").read_text()


def test_each_model_is_compared_with_both_baselines_in_each_range(folder: Path):
    table = drawing_table(load_results(folder))
    assert table is not None
    assert [row.color for row in table.rows] == [0, 1, 0, 1]
    assert [tuple(cell.line for cell in row.contents()) for row in table.rows] == [
        ("Autoencoder", "shift", ERROR, "0.0800", "0.0600", "31.2 % (25.0, 37.5; n = 2)"),
        ("CNN", "shift", "cannot draw", "0.0800", "0.0600", "–"),
        ("Autoencoder", "still", ERROR, "0.0000", "0.0500", "–"),
        ("CNN", "still", "cannot draw", "0.0000", "0.0500", "–"),
    ]


def test_an_unmeasured_model_is_not_called_unable_to_draw(tmp_path: Path, write_rendering):
    folder = write_rendering(tmp_path, unfinished=(("CNN", 0), ("CNN", 1)))
    table = drawing_table(load_results(folder))
    assert table is not None
    assert {row.cells[0] for row in table.rows} == {"Autoencoder"}
    for text in texts(folder):
        assert "cannot draw" not in text
        assert "not finished yet" in text


def test_without_the_measure_there_is_no_table(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, models=MODELS)
    assert drawing_table(load_results(folder)) is None
    for text in texts(folder):
        assert "Drawings" not in text
        assert "Familiar" in text


def test_every_form_of_the_report_has_the_table(folder: Path):
    table = drawing_table(load_results(folder))
    assert table is not None
    _, *pages = all_forms(folder)
    for text in all_forms(folder):
        assert table.title in text
        assert "Familiar" in text
        titles = [column.title for column in table.columns]
        for word in (*titles, "0.0250", "0.0800", "0.0600", "31.2 %"):
            assert word in text
        assert text.count("cannot draw") == 2
    for text in pages:
        assert table.caption in text
        assert "Shift: shift −3 px to 3 px; no change of rotation, scale and shear." in text


def test_cnns_alone_have_the_table(tmp_path: Path, write_rendering):
    for text in texts(write_rendering(tmp_path, models=(("CNN", "cnn-small"),))):
        assert text.count("cannot draw") == 2


def test_accuracy_is_absent_if_it_is_not_measured(alone: Path):
    titles = [column.title for column in summary_table(load_results(alone)).columns]
    assert titles == ["Model", "Training time", "Parameters", "Seeds"]
    for text in all_forms(alone):
        assert "Training time" in text
        for word in (
            "Familiar<",
            "Familiar |",
            "Novel",
            "Gap<",
            "Gap |",
            "gap is",
            "Accuracy",
            'strip-chart"',
        ):
            assert word not in text


def test_all_values_of_a_model_are_listed_with_their_units(folder: Path):
    rows = []
    for cells in load_results(folder).by_label().values():
        table = totals_table(cells)
        assert table is not None
        contents = [row.contents() for row in table.rows]
        rows.append({(cells[0].text, cells[1].text): cells[2].line for cells in contents})
    drawing, other = rows
    assert drawing["rendering-error", "shift rendering error"] == ERROR
    assert drawing["rendering-error", "shift error relative to copy"].startswith("31.2 %")
    assert other["rendering-error", "shift copy error"].startswith("0.0800")
    assert ("rendering-error", "shift rendering error") not in other
    for lines in rows:
        assert "pts" in lines["accuracy-by-view", "gap"]
        assert lines["accuracy-by-view", "gap"].endswith("n = 2)")


def test_csv_has_both_measures(folder: Path):
    rows = list(csv.DictReader(io.StringIO((folder / "report/results.csv").read_text())))
    assert {row["measure"] for row in rows} == {"rendering-error", "accuracy-by-view"}
    errors = [row for row in rows if row["measure"] == "rendering-error"]
    assert len(errors) == 2 * (4 + 3) + 2 * 4


def test_the_mirror_of_a_benchmark_has_the_means_of_both_measures(folder: Path, monkeypatch):
    logged = {}

    class Mirror:
        def log_results(self, values, table, figures):
            logged.update(values)

        def close(self):
            pass

    monkeypatch.setattr("capsbench.running.mirror.begin", lambda **_: Mirror())
    mirror_benchmark(folder, load_results(folder), "offline")
    error = "Autoencoder/rendering-error/rendering_error[split=shift]"
    assert logged[error] == pytest.approx(0.025)
    assert 0 < logged["CNN/accuracy-by-view/accuracy[split=novel]"] < 1
