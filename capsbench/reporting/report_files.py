"""Files of the report of a benchmark: page, Markdown and CSV."""

from __future__ import annotations

from capsbench.records import Results
from capsbench.reporting import markdown, page
from capsbench.reporting.charts.all_charts import measure_charts
from capsbench.reporting.comparisons.confusions import CSV_NAME, confusions_csv, model_confusions
from capsbench.reporting.comparisons.differences import differences_csv, model_differences
from capsbench.reporting.exports.csv_file import results_csv
from capsbench.reporting.index import summary
from capsbench.reporting.index.summary import benchmark_summary
from capsbench.reporting.tables.result_tables import result_tables


def report_files(results: Results) -> dict[str, bytes]:
    """Return the files of a report by their path in its folder, the page last.

    Args:
        results: The records.
    """
    differences = model_differences(results)
    tables = result_tables(results, differences)
    sections = measure_charts(results)
    confused = model_confusions(results)
    texts = {
        "results.csv": results_csv(results),
        "differences.csv": differences_csv(results, differences),
        **({} if confused is None else {CSV_NAME: confusions_csv(confused)}),
        "report.md": markdown.render(results, tables, differences, sections),
        summary.NAME: benchmark_summary(results, differences).model_dump_json(indent=1),
        "index.html": page.render(results, tables, differences, sections, confused),
    }
    return {name: text.encode() for name, text in texts.items()}
