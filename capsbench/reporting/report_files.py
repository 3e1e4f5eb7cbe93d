"""Files of the report of a benchmark: page, Markdown, CSV and figures."""

from __future__ import annotations

from capsbench.records import Results
from capsbench.reporting import markdown, page
from capsbench.reporting.comparisons.differences import differences_csv, model_differences
from capsbench.reporting.exports.csv_file import results_csv
from capsbench.reporting.figures import all_figures
from capsbench.reporting.figures.plotting import png, svg
from capsbench.reporting.tables.result_tables import result_tables


def report_files(results: Results) -> dict[str, bytes]:
    """Return the files of a report by their path in its folder, the page last.

    Args:
        results: The records.
    """
    differences = model_differences(results)
    tables = result_tables(results, differences)
    measure_figures = all_figures.measure_figures(results)
    drawn = all_figures.accuracy_figures(results) | all_figures.training_figures(results)
    drawn |= {name: each.figure for name, each in measure_figures.items()}
    drawings = {name: svg(figure) for name, figure in drawn.items()}
    files: dict[str, bytes] = {}
    for name, figure in drawn.items():
        files[f"figures/{name}.svg"] = drawings[name]
        files[f"figures/{name}.png"] = png(figure)
    files["results.csv"] = results_csv(results).encode()
    files["differences.csv"] = differences_csv(results, differences).encode()
    files["report.md"] = markdown.render(results, tables, measure_figures).encode()
    files["index.html"] = page.render(results, tables, drawings, measure_figures).encode()
    return files
