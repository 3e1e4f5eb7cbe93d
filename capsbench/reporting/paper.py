"""Files for a paper: every table and figure of a report in a file of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from capsbench.errors import unknown
from capsbench.files.atomic import write_bytes
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    ClaimsRecord,
    Provenance,
    Results,
    load_results,
)
from capsbench.reporting.tables import render_data, render_latex, render_markdown
from capsbench.reporting.tables.table import Table

TABLE_FORMATS = {"md": "md", "csv": "csv", "json": "json", "latex": "tex"}  # ending by format
FIGURE_FORMATS = ("svg", "pdf", "png")


def parse_formats(option: str, text: str | None, known: Collection[str]) -> tuple[str, ...]:
    """Return the formats in a comma-separated list, each once.

    Args:
        option: Name of the option, for the message.
        text: The list; None for an option that was not given.
        known: The formats that exist.

    Raises:
        UserError: One does not exist.
    """
    names = [name.strip() for name in text.split(",")] if text is not None else []
    for name in names:
        if name not in known:
            raise unknown(f"format of {option}:", name, known)
    return tuple(dict.fromkeys(names))


def write_paper(
    folder: Path, *, tables: Collection[str] = (), figures: Collection[str] = ()
) -> list[Path]:
    """Write the tables and figures of a benchmark or of claims to ``folder/paper/``.

    The same records give the same bytes. Files of other names stay.

    Args:
        folder: ``runs/<benchmark>`` or ``runs/<claims>``.
        tables: Formats of the tables, of `TABLE_FORMATS`: one file ``tables/<name>`` for each.
        figures: Formats of the figures, of `FIGURE_FORMATS`: one file ``figures/<name>`` for each.
            Claims have none, but each of their benchmarks has.

    Returns:
        The files, in the order of the report.

    Raises:
        UserError: There is no record, or one is damaged, or a file cannot be written.
    """
    files = BenchmarkFolder(folder)
    contents: dict[str, bytes] = {}
    if files.claims.is_file():
        contents |= _table_files(
            folder.name, ClaimsRecord.load(files.claims), _claims(folder), tables
        )
    else:
        results = load_results(folder)
        if tables:
            drawn = _benchmark_tables(results)
            contents |= _table_files(folder.name, results.record, drawn, tables)
        if figures:
            contents |= dict(_figure_files(results, figures))
    for name, content in contents.items():
        write_bytes(files.paper / name, content)
    return [files.paper / name for name in contents]


def _claims(folder: Path) -> list[Table]:
    from capsbench.reporting.claims_report import load_claims_results
    from capsbench.reporting.tables.claims_tables import claim_tables

    claims = load_claims_results(folder)
    return claim_tables(claims.judged(), claims.record.scale)


def _benchmark_tables(results: Results) -> list[Table]:
    """Return the tables of the report with the best models marked, and those of single views."""
    from capsbench.reporting.comparisons.aggregate import view_factors
    from capsbench.reporting.comparisons.best import mark_best
    from capsbench.reporting.comparisons.differences import model_differences
    from capsbench.reporting.tables.result_tables import result_tables
    from capsbench.reporting.tables.view_tables import view_table

    tables = [mark_best(results, t) for t in result_tables(results, model_differences(results))]
    return [*tables, *(view_table(results, factor) for factor in view_factors(results))]


def _table_files(
    benchmark: str,
    record: BenchmarkRecord | ClaimsRecord,
    tables: Collection[Table],
    formats: Collection[str],
) -> dict[str, bytes]:
    source = _source(benchmark, record.provenance)
    write: dict[str, Callable[[Table], str]] = {
        "md": lambda table: f"<!-- {source} -->\n\n{render_markdown.render(table)}\n",
        "csv": render_data.render_csv,
        "json": lambda table: _as_json(table, source),
        "latex": lambda table: f"% {source}\n{render_latex.render(table, benchmark)}",
    }
    return {
        f"tables/{table.name}.{TABLE_FORMATS[name]}": write[name](table).encode()
        for table in tables
        for name in formats
    }


def _as_json(table: Table, source: str) -> str:
    return json.dumps({"source": source, **render_data.as_json(table)}, indent=1) + "\n"


def _source(benchmark: str, provenance: Provenance) -> str:
    """Return a line on the origin of a file, for a comment."""
    commit = provenance.commit or "unknown"
    return f"capsbench report {benchmark}; records of {provenance.date}, commit {commit}"


def _figure_files(results: Results, formats: Collection[str]) -> Iterator[tuple[str, bytes]]:
    from capsbench.reporting.figures import all_figures, plotting

    figures = all_figures.accuracy_figures(results) | all_figures.training_figures(results)
    figures |= {name: each.figure for name, each in all_figures.measure_figures(results).items()}
    for name, figure in figures.items():
        for kind in formats:
            yield f"figures/{name}.{kind}", plotting.SAVE[kind](figure)
