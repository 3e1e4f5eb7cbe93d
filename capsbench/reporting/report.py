"""The report of a benchmark: page, Markdown, CSV and figures, made from records alone."""

from __future__ import annotations

import re
from pathlib import Path

from capsbench.files.atomic import remove, remove_link, write_bytes
from capsbench.files.lease import lease
from capsbench.files.leftovers import clear_leftovers
from capsbench.records import BenchmarkFolder, BenchmarkRecord, load_results
from capsbench.reporting import markdown, page
from capsbench.reporting.comparisons.differences import differences_csv, model_differences
from capsbench.reporting.exports.csv_file import results_csv
from capsbench.reporting.figures import all_figures
from capsbench.reporting.figures.plotting import png, svg
from capsbench.reporting.tables.result_tables import result_tables

# Figures of factors and models, of which another protocol has others.
CHANGING_FIGURE = re.compile(r"(accuracy-\w+|training-\d+)\.(svg|png)")


def build(folder: Path) -> Path:
    """Build ``folder/report/`` from the records; the same records give the same bytes.

    Figures of a factor or model that has left the protocol are removed; other files stay. Of two
    processes that build the page, the second one waits for the first, and builds it from the
    records of that moment.

    Args:
        folder: ``runs/<benchmark>``.

    Returns:
        The path of ``index.html``.

    Raises:
        UserError: There is no record, or one is damaged.
    """
    files = BenchmarkFolder(folder)
    BenchmarkRecord.load(files.record)  # before anything is written in a folder without records
    with lease(files.report_lease, "build the page"):
        return _build(folder)


def _build(folder: Path) -> Path:
    results = load_results(folder)
    report = BenchmarkFolder(folder).report
    figures = report / "figures"
    for place in (report, figures):
        remove_link(place)
        clear_leftovers(place)
    differences = model_differences(results)
    tables = result_tables(results, differences)
    measure_figures = all_figures.measure_figures(results)
    drawn = all_figures.accuracy_figures(results) | all_figures.training_figures(results)
    drawn |= {name: each.figure for name, each in measure_figures.items()}
    drawings = {name: svg(figure) for name, figure in drawn.items()}
    for name, figure in drawn.items():
        write_bytes(figures / f"{name}.svg", drawings[name])
        write_bytes(figures / f"{name}.png", png(figure))
    for old in figures.glob("*"):
        if CHANGING_FIGURE.fullmatch(old.name) and old.stem not in drawn:
            remove(old)
    write_bytes(report / "results.csv", results_csv(results).encode())
    write_bytes(report / "differences.csv", differences_csv(results, differences).encode())
    write_bytes(report / "report.md", markdown.render(results, tables, measure_figures).encode())
    index = report / "index.html"
    write_bytes(index, page.render(results, tables, drawings, measure_figures).encode())
    return index
