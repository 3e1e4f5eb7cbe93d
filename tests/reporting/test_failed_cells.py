"""A failed cell on every page: its reason, its log, and the command that tries it again."""

import pytest
from rich.console import Console

from capsbench import load_results as load_tables
from capsbench.environment.failure_kinds import classify, killed
from capsbench.errors import UserError
from capsbench.files.atomic import read_json, write_json
from capsbench.records import FailureRecord, load_results
from capsbench.reporting import markdown, page, terminal
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW, aggregate_seeds
from capsbench.reporting.exports.export import export_benchmark, load_export
from capsbench.reporting.tables.result_tables import result_tables
from capsbench.reporting.tables.summary_table import summary_table
from capsbench.running.next_step import next_step
from capsbench.values import Quantity

COMMAND = "capsbench run quick --retry failed"
OUTPUTS = "<b>& the log"


def fail(cell, failure, job="train"):
    record = FailureRecord.now(
        failure, cell=cell.folder.path.name, job=job, log="log.txt", attempts=3
    )
    record.save(cell.folder.failure)


@pytest.fixture
def folder(write_benchmark, tmp_path):
    """Two models with two seeds: one training was killed, one measure ran out of memory."""
    models = (("CNN", "cnn-small"), ("Dynamic routing", "capsnet-dr"))
    folder = write_benchmark(tmp_path / "runs", models=models, unfinished=(("CNN", 1),))
    cells = load_results(folder).cells
    fail(cells[1], killed(-9))
    try:
        raise MemoryError(OUTPUTS)
    except MemoryError as error:
        fail(cells[3], classify(error), "measure")
    (measure,) = cells[3].reference.measures.values()
    cells[3].folder.measure(measure).unlink()
    return folder


def test_a_failed_cell_takes_part_in_no_mean(folder):
    results = load_results(folder)
    problems = [cell.problem for cell in results.cells]
    assert problems == [None, "failed: killed", None, "failed: out of host memory"]
    rows = [[cell.text for cell in row.contents()] for row in summary_table(results).rows]
    assert [row[-1] for row in rows] == ["1 of 2", "1 of 2"]
    quantity = Quantity(metric="accuracy", split="novel")
    numbers = aggregate_seeds(results.cells[2:], ACCURACY_BY_VIEW, quantity)
    assert numbers is not None
    assert list(numbers.values) == [0]
    assert "27.0 s" in rows[1]  # of seed 0 alone, although seed 1 was trained in 28 s


def test_a_cell_with_everything_is_no_failed_one(write_benchmark, tmp_path):
    """It failed for another benchmark, which has more measures."""
    folder = write_benchmark(tmp_path)
    cell = load_results(folder).cells[0]
    fail(cell, killed(-9), "measure")
    assert load_results(folder).cells[0].problem is None


def test_page_and_markdown(folder):
    results = load_results(folder)
    tables = result_tables(results, [])
    html = page.render(results, tables, [], [], None)
    path = results.cells[1].reference.path
    for text in (html, markdown.render(results, tables, [], [])):
        for words in ("SIGKILL", f"{path}/log.txt", COMMAND, "out of host memory", "1 of 2"):
            assert words in text
    assert "&lt;b&gt;&amp; the log" in html  # the traceback, escaped
    assert OUTPUTS not in html
    assert "tried 3 times" in html


def test_terminal_and_python(folder):
    console = Console(width=200, record=True)
    results = load_results(folder)
    console.print(terminal.result_tables(results))
    text = console.export_text()
    assert "log.txt" in text
    for each in (text, load_tables(folder).table()):
        assert "SIGKILL" in each
        assert COMMAND in each
    assert COMMAND in load_tables(folder)._repr_html_()
    assert "2 of 4" in repr(load_tables(folder))
    assert next_step(results, folder.parent, None) == ""


def test_an_export_states_failures_without_details_of_the_machine(folder, tmp_path):
    file = export_benchmark(folder, tmp_path / "results")
    exported = load_export(file)
    assert [cell.problem for cell in exported.results.cells] == [
        cell.problem for cell in load_results(folder).cells
    ]
    assert (len(exported.cells), len(exported.failed)) == (2, 2)
    failure = exported.failed[0].failure
    assert failure is not None
    assert "SIGKILL" in failure.reason
    assert (failure.log, failure.traceback, failure.host) == (None, "", "")


def test_an_export_of_failures_alone_is_refused(write_benchmark, tmp_path):
    folder = write_benchmark(
        tmp_path, seeds=(0,), models=(("CNN", "cnn-small"),), unfinished=(("CNN", 0),)
    )
    fail(load_results(folder).cells[0], killed(-9))
    with pytest.raises(UserError, match="no finished cell"):
        export_benchmark(folder, tmp_path / "results")


def test_a_damaged_failure_is_refused(folder):
    path = load_results(folder).cells[1].folder.failure
    write_json(path, read_json(path) | {"reason": "none"})
    with pytest.raises(UserError, match="--retry failed"):
        load_results(folder)
