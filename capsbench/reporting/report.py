"""The report of a benchmark: page, Markdown and CSV, made from records alone."""

from __future__ import annotations

from pathlib import Path

from capsbench.files.atomic import remove_link
from capsbench.files.lease import lease
from capsbench.files.leftovers import clear_leftovers
from capsbench.records import BenchmarkFolder, BenchmarkRecord, load_results
from capsbench.reporting.stamp import benchmark_inputs, is_current, write_report


def build(folder: Path) -> Path:
    """Build ``folder/report/`` from the records; the same records give the same bytes.

    A report that was made from the same records by the same code, and whose files were not changed
    since, is left as it is; other files stay. Of two processes that build the page, the second one
    waits for the first.

    Args:
        folder: ``runs/<benchmark>``.

    Returns:
        The path of ``index.html``.

    Raises:
        UserError: There is no record, or one is damaged.
    """
    files = BenchmarkFolder(folder)
    record = BenchmarkRecord.load(files.record)  # before anything is written in another folder
    with lease(files.report_lease, "build the page"):
        inputs = benchmark_inputs(folder, record)
        if not is_current(files.report, inputs):
            _write(folder, files.report, inputs)
    from capsbench.reporting.index.page import build_index

    build_index(folder.parent)
    return files.report / "index.html"


def _write(folder: Path, report: Path, inputs: str) -> None:
    from capsbench.reporting.report_files import report_files  # imports Altair

    written = report_files(load_results(folder))
    remove_link(report)
    clear_leftovers(report)
    write_report(report, inputs, written)
