"""Tables and figure of results."""

import re

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from rich.console import Console

from capsbench.records.provenance import Provenance
from capsbench.reporting.figures.plotting import svg
from capsbench.speed.figure import ratios_figure
from capsbench.speed.machine import Machine
from capsbench.speed.rows import RowResult, full_name
from capsbench.speed.table import comparison_table, format_number, machine_table, unmeasured_lines


def result(row, *, comparison="forward", group="routing", **numbers):
    return RowResult(
        name=full_name(comparison, row),
        group=group,
        comparison=comparison,
        row=row,
        baseline=full_name(comparison, "textbook"),
        precision="fp32",
        **numbers,
    )


def timed(row, median, ratio, **others):
    spread = {"p10_ms": median * 0.9, "p90_ms": median * 1.1, "min_ms": median * 0.8}
    ratios = {"ratio": ratio, "ratio_p10": ratio * 0.9, "ratio_p90": ratio * 1.1}
    return result(row, rounds=5, median_ms=median, **spread, **ratios, **others)


RESULTS = [
    timed("textbook", 96.0, 1.0, peak_bytes=807_000_000, percent_of_matmul=2.04),
    timed("eager", 51.5, 1.864, peak_bytes=60_000_000, percent_of_copy=14.6),
    result("native", not_measured="no C compiler"),
    result("triton", not_measured="triton needs a GPU"),
    timed("textbook", 1.0, 1.0, comparison="backward", group="step"),
    timed("eager", 2.0, 0.5, comparison="backward", group="step"),
]
MACHINE = Machine(
    provenance=Provenance(
        versions={"capsbench": "1.2", "torch": "2.15.0", "python": "3.11.7"},
        commit="abc+",
        date="2026-01-01",
    ),
    device="cpu",
    device_name="x86_64, 2 threads",
    cpu="A CPU",
    threads=2,
    bf16=(),
    settings={"huge pages": "on"},
    matmul_flops_per_second={"fp32": 310e9},
    copy_bytes_per_second=26e9,
)


def printed(renderable):
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_table_of_a_comparison_fits_a_terminal():
    lines = printed(comparison_table(RESULTS[:4]))
    assert lines[0].split() == ["ms", "10-90", "%", "ratio", "memory", "matmul", "copy"]
    assert lines[1].split() == ["textbook", "96.0", "86.4–106", "1.00", "807.0", "MB", "2.0", "%"]
    assert lines[2].split() == ["eager", "51.5", "46.4–56.7", "1.86", "60.0", "MB", "15", "%"]
    assert len(lines) == 3


def test_each_reason_for_unmeasured_rows_is_one_line():
    assert unmeasured_lines(RESULTS) == [
        "not measured: native: no C compiler",
        "not measured: triton: triton needs a GPU",
    ]
    assert unmeasured_lines([result(name, not_measured="no GPU") for name in "ab"]) == [
        "not measured: a, b: no GPU"
    ]


def test_machine():
    text = "\n".join(printed(machine_table(MACHINE)))
    for words in (
        "A CPU, 2 threads",
        "no instructions",
        "capsbench 1.2 (abc+), torch 2.15.0, Python 3.11.7, 2026-01-01",
        "huge pages: on",
        "310 GFLOP/s in fp32",
        "26.0 GB/s",
    ):
        assert words in re.sub(r"\s+", " ", text)
    bare = MACHINE.model_copy(update={"matmul_flops_per_second": {}, "copy_bytes_per_second": None})
    assert "limits" not in "\n".join(printed(machine_table(bare)))


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.00"), (99.96, "100"), (100.4, "100"), (1234.5, "1234")]
)
def test_numbers(value, text):
    assert format_number(value) == text


def test_figure_has_a_bar_for_each_row_but_the_baseline():
    figure = ratios_figure(RESULTS)
    routing, step = figure.axes
    (bar,), (slow,) = routing.patches, step.patches
    assert isinstance(bar, Rectangle) and isinstance(slow, Rectangle)
    assert np.allclose([bar.get_x(), bar.get_width()], [1, 0.864])
    assert np.allclose([slow.get_x(), slow.get_width()], [1, -0.5])
    assert bar.get_facecolor() != slow.get_facecolor()
    baseline, spread = routing.lines
    assert np.array_equal(baseline.get_xdata(), [1, 1])
    assert np.allclose(spread.get_xdata(), [1.864 * 0.9, 1.864 * 1.1])
    assert routing.get_xscale() == "log"


def test_figure_names_unmeasured_rows():
    text = svg(ratios_figure(RESULTS)).decode()
    for words in (
        "forward (1: textbook)",
        "backward (1: textbook)",
        ">eager<",
        ">1.86<",
        "not measured: native, triton",
    ):
        assert words in text


def test_a_figure_without_measured_rows():
    missing = [result(name, not_measured="no") for name in ("textbook", "eager")]
    assert "not measured: textbook, eager" in svg(ratios_figure(missing)).decode()
