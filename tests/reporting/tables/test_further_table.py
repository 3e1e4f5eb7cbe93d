"""Measures beside the protocol: those of other benchmarks and of ``capsbench measure``."""

from __future__ import annotations

from pathlib import Path

import pytest

from capsbench.records import BenchmarkFolder, BenchmarkRecord, load_results
from capsbench.reporting import report
from capsbench.reporting.tables.further_table import further_table
from capsbench.values import Quantity

FLOPS = Quantity(metric="flops")
COST = {"measure": "cost"}


@pytest.fixture
def folder(tmp_path: Path, write_benchmark, add_measure) -> Path:
    """A benchmark with a measure of each seed that its record does not list."""
    folder: Path = write_benchmark(tmp_path, seeds=(0, 1))
    for seed in (0, 1):
        add_measure(folder, "CNN", seed, COST, [FLOPS.with_value(1000.0 + 500 * seed, 0)])
    file = BenchmarkFolder(folder).record
    record = BenchmarkRecord.load(file)
    cells = tuple(
        cell.model_copy(
            update={"measures": {k: v for k, v in cell.measures.items() if k != COST["measure"]}}
        )
        for cell in record.cells
    )
    kept = tuple(m for m in record.benchmark.measures if m.measure != COST["measure"])
    benchmark = record.benchmark.model_copy(update={"measures": kept})
    record.model_copy(update={"cells": cells, "benchmark": benchmark}).save(file)
    return folder


def test_the_table_has_the_mean_over_seeds(folder: Path):
    table = further_table(load_results(folder))
    assert table is not None
    (row,) = table.rows
    cells = row.contents()
    assert [cell.text for cell in cells[:1]] == ["CNN"]
    assert cells[1].text == "cost"
    assert cells[4].number == 1250
    assert cells[4].seeds == 2


def test_the_page_is_made_again_when_a_measure_is_added(folder: Path, add_measure):
    page = report.build(folder)
    assert "Measured beside the protocol" in page.read_text()
    for path in folder.parent.glob("*/cnn-small/*/measures/cost-*"):
        path.unlink()
    report.build(folder)
    assert "Measured beside the protocol" not in page.read_text()


def test_a_benchmark_without_any_has_no_table(tmp_path: Path, write_benchmark):
    assert further_table(load_results(write_benchmark(tmp_path))) is None
