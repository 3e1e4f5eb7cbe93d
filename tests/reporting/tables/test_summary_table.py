"""The summary of a benchmark whose measures are not all finished."""

from capsbench.records import load_results
from capsbench.reporting import report
from capsbench.reporting.tables.summary_table import summary_table
from capsbench.values import Quantity


def test_a_cell_without_accuracy_by_view_has_no_numbers(write_benchmark, add_measure, tmp_path):
    folder = write_benchmark(tmp_path)
    value = Quantity(metric="accuracy", split="familiar").with_value(0.5, 100)
    add_measure(folder, "CNN", 0, {"measure": "accuracy-by-split"}, [value])
    cell = next(c for c in load_results(folder).cells if (c.label, c.seed) == ("CNN", 0))
    cell.folder.measure(cell.reference.measures["accuracy-by-view"]).unlink()
    table = summary_table(load_results(folder))
    row = next(row for row in table.rows if row.cells[0] == "CNN")
    assert row.cells[-1] == "1 of 2"
    assert report.build(folder).is_file()
