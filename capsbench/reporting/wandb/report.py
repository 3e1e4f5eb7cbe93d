"""The report of a benchmark on Weights & Biases: the answer first, then panels of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr

from capsbench.measures import load_measure
from capsbench.records import Results
from capsbench.reporting import protocol
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW
from capsbench.reporting.comparisons.answers import CHOSEN, answers
from capsbench.reporting.comparisons.differences import model_differences
from capsbench.reporting.exports.export import portable
from capsbench.reporting.gallery import gallery
from capsbench.reporting.networks import networks
from capsbench.reporting.provenance import versions
from capsbench.reporting.reproduction import reproduce
from capsbench.reporting.tables.render_markdown import plain, render_rows
from capsbench.reporting.tables.result_tables import result_tables
from capsbench.reporting.tables.table import Table
from capsbench.reporting.wandb.evaluation import confusion_rows, renderings
from capsbench.reporting.wandb.panels import (
    FULL,
    HEIGHT,
    cost_panels,
    headline,
    line_panels,
    number_panels,
    runs_of,
    table_panels,
)
from capsbench.reporting.wandb.run import JobType

LONGEST_TITLE = 128  # characters
COMPARER = wr.Layout(w=FULL, h=2 * HEIGHT)


def build_report(results: Results, project: str, entity: str) -> wr.Report:
    """Return the report; nothing is sent.

    Run sets name no project, which means that of the report: else wandb-workspaces would ask the
    server for it.

    Args:
        results: The records.
        project: Project of the runs.
        entity: User or team; empty if it is not known.
    """
    benchmark, differences = results.benchmark, model_differences(results)
    leaderboard, *tables = result_tables(results, differences)
    blocks = [
        wr.H1("Question and answer"),
        wr.P(benchmark.question.strip()),
        _list(answers(results, differences)),
        wr.P(CHOSEN),
        wr.P(networks(results)),
        wr.H1("Leaderboard"),
        *_table(leaderboard),
        _grid(results, "aggregate", table_panels(["leaderboard"])),
        *_measures(results),
        wr.H1("Accuracy against cost"),
        _grid(results, "evaluate", cost_panels(results)),
        *_pictures(results),
        *(block for table in tables for block in (wr.H1(table.title), *_table(table))),
        wr.H1("Run comparer"),
        _grid(results, "evaluate", [wr.RunComparer(diff_only=True, layout=COMPARER)]),
        wr.H1("Protocol"),
        _list([f"{term}: {text}" for term, text in protocol.protocol_terms(results)]),
        wr.H1("Provenance"),
        _list(_provenance(results)),
        wr.H1("Reproduce"),
        # The report knows no language of the shell.
        *(wr.CodeBlock(code=line, language=None) for line in commands(results)),
    ]
    return wr.Report(
        project=project,
        entity=entity,
        title=benchmark.title[:LONGEST_TITLE],
        description=f"{benchmark.name}, version {benchmark.version}, {results.record.size}",
        blocks=blocks,
        width="fluid",
    )


def commands(results: Results) -> list[str]:
    """Return the command of the benchmark, and that of each model alone."""
    record = results.record
    labels = dict.fromkeys(cell.label for cell in results.cells if not cell.trained_elsewhere)
    lines = [portable(record.command), *(reproduce(record, label) for label in labels)]
    return list(dict.fromkeys(lines))


def _measures(results: Results) -> list[Any]:
    """Return a section for each measure, accuracy by view first."""
    names = [config.measure for config in results.benchmark.measures]
    blocks: list[Any] = []
    for name in sorted(names, key=lambda each: each != ACCURACY_BY_VIEW):
        panels = line_panels(results, name) + (
            [] if name == ACCURACY_BY_VIEW else number_panels(results, name)
        )
        if panels:
            definition = str(load_measure(name).__doc__).partition("\n\n")[0].replace("\n", " ")
            blocks += [wr.H1(name.replace("-", " ").capitalize()), wr.P(definition)]
            blocks.append(_grid(results, "evaluate", panels))
    return blocks


def _pictures(results: Results) -> list[Any]:
    """Return the tables of images that the runs have."""
    blocks: list[Any] = []
    if results.examples is not None:
        names = ["example_images", *(["gallery"] if gallery(results) else [])]
        blocks.append(_grid(results, "aggregate", table_panels(names)))
    cells = [cell for cell in results.cells if cell.problem is None]
    names = ["confusion"] if any(next(confusion_rows(cell), None) for cell in cells) else []
    names += ["reconstructions"] if any(next(renderings(cell), None) for cell in cells) else []
    if names:
        blocks.append(_grid(results, "evaluate", table_panels(names)))
    return [wr.H1("Images"), *blocks] if blocks else []


def _provenance(results: Results) -> list[str]:
    record = results.record
    return [
        f"{record.benchmark.name}, version {record.benchmark.version}, {record.benchmark.source}",
        *([f"Changed: {', '.join(record.change_texts)}"] if record.change_texts else []),
        f"Commit {record.provenance.commit or 'unknown'}, {record.provenance.date}",
        ", ".join(f"{name} {version}" for name, version in versions(results)) or "Not measured yet",
    ]


def _table(table: Table) -> list[Any]:
    """Return a table with its caption; what is not measured is stated below."""
    notes = [_list(table.notes)] if table.notes else []
    return [wr.MarkdownBlock(text=render_rows(table)), wr.P(table.caption), *notes]


def _list(lines: Sequence[str]) -> wr.MarkdownBlock:
    return wr.MarkdownBlock(text="\n".join(f"- {plain(line)}" for line in lines))


def _grid(results: Results, job_type: JobType, panels: Sequence[Any]) -> wr.PanelGrid:
    """Return panels of the runs of one type."""
    name = headline(results) if job_type == "evaluate" else None
    runset = wr.Runset(
        name=f"{results.benchmark.name}: {job_type}",
        filters=runs_of(results, job_type),
        order=[] if name is None else [wr.OrderBy(wr.SummaryMetric(name), ascending=False)],
    )
    return wr.PanelGrid(runsets=[runset], panels=list(panels))
