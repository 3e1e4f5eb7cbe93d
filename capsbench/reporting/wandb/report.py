"""The report of a benchmark on Weights & Biases: the answer first, then panels of its runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr

from capsbench.measures import load_measure
from capsbench.records import Results
from capsbench.reporting import protocol
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW, aggregate_seeds
from capsbench.reporting.comparisons.differences import ModelDifference, model_differences
from capsbench.reporting.formatting import NUMBER_FORMATS, counted
from capsbench.reporting.networks import networks
from capsbench.reporting.provenance import versions
from capsbench.reporting.tables.mean_cell import mean_cell
from capsbench.reporting.tables.published_tables import published_difference_table, published_table
from capsbench.reporting.tables.quantity_text import measured_text
from capsbench.reporting.tables.render_markdown import plain, render_rows
from capsbench.reporting.tables.summary_table import summary_table
from capsbench.reporting.tables.table import Table
from capsbench.reporting.wandb.panels import (
    NOVEL,
    cost_panels,
    headline,
    line_panels,
    number_panels,
    runs_of,
)
from capsbench.reporting.wandb.run import JobType

LONGEST_TITLE = 128  # characters


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
    blocks = [
        wr.H1("Question and answer"),
        wr.P(benchmark.question.strip()),
        _list([*means(results), *answers(differences, results.cells[0].label)]),
        wr.P(networks(results)),
        wr.H1("Leaderboard"),
        *_table(summary_table(results)),
        _grid(results, "aggregate", [wr.WeavePanelSummaryTable(table_name="leaderboard")]),
        *_measures(results),
        wr.H1("Accuracy against cost"),
        _grid(results, "evaluate", cost_panels(results)),
        *_published(results),
        wr.H1("Run comparer"),
        _grid(results, "evaluate", [wr.RunComparer(diff_only=True)]),
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


def means(results: Results) -> list[str]:
    """Return a sentence on the accuracy of each model at novel views, if it is measured."""
    found = {
        title: mean_cell(aggregate_seeds(cells, ACCURACY_BY_VIEW, NOVEL))
        for title, cells in results.by_label().items()
    }
    return [f"{title} at novel views: {cell.line}." for title, cell in found.items() if cell]


def answers(differences: Sequence[ModelDifference], first: str) -> list[str]:
    """Return a sentence on each model: its difference from the first one, and how sure that is.

    It is that of accuracy at novel views, or else of the first number that has a difference.

    Args:
        differences: Differences from the first model.
        first: Label of the first model.
    """
    by_title: dict[str, ModelDifference] = {}
    for each in differences:
        if (each.measure, each.quantity) == (ACCURACY_BY_VIEW, NOVEL):
            by_title[each.title] = each
        by_title.setdefault(each.title, each)
    return [_answer(each, first) for each in by_title.values()]


def _answer(row: ModelDifference, first: str) -> str:
    each = row.difference
    unit = load_measure(row.measure).metrics[row.quantity.metric].unit
    text, bare = NUMBER_FORMATS["difference of shares" if unit == "share" else unit]
    what = measured_text(row.measure, row.quantity)
    seeds = counted(min(each.n_seeds), "seed")
    sentence = f"{row.title} minus {first}, {what}: {text(each.mean)}"
    if each.interval is None:
        return f"{sentence} ({seeds}; an interval needs three): not decided."
    low, high = each.interval
    decided = "not decided" if low <= 0 <= high else ("higher" if low > 0 else "lower")
    return f"{sentence} (95 % interval {bare(low)} to {bare(high)}, {seeds}): {decided}."


def commands(results: Results) -> list[str]:
    """Return the command of the benchmark, and that of each model alone."""
    record = results.record
    lines = [record.command]
    words = shlex.split(record.command)
    if record.changes.models is None and words[:2] == ["capsbench", "run"]:
        labels = dict.fromkeys(c.label for c in results.cells if not c.trained_elsewhere)
        lines += [shlex.join([*words, "--models", label]) for label in labels if "," not in label]
    return lines


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


def _published(results: Results) -> list[Any]:
    tables = (published_table(results), published_difference_table(results))
    found = [each for each in tables if each is not None]
    return [block for table in found for block in (wr.H1(table.title), *_table(table))]


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
    name = headline(results)
    runset = wr.Runset(
        name=f"{results.benchmark.name}: {job_type}",
        filters=runs_of(results, job_type),
        order=[] if name is None else [wr.OrderBy(wr.SummaryMetric(name), ascending=False)],
    )
    return wr.PanelGrid(runsets=[runset], panels=list(panels))
