"""The page of one benchmark in the documentation: all of its exported records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from capsbench.records.benchmark import FULL
from capsbench.reporting.comparisons.aggregate import view_factors
from capsbench.reporting.comparisons.answers import CHOSEN, answers
from capsbench.reporting.comparisons.costs import cost_curves
from capsbench.reporting.comparisons.joint_views import ACCURACY_BY_JOINT_VIEW, joint_views
from capsbench.reporting.comparisons.scaling import varied_curves
from capsbench.reporting.exports.export import ExportedResults
from capsbench.reporting.formatting import listed
from capsbench.reporting.networks import networks
from capsbench.reporting.results_pages.origin import origin
from capsbench.reporting.tables import render_markdown
from capsbench.reporting.tables.render_markdown import plain
from capsbench.reporting.tables.result_tables import result_tables
from capsbench.reporting.tuning import tuning

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def render_benchmark(exported: Sequence[ExportedResults]) -> str:
    """Return the page of a benchmark as Markdown text.

    Args:
        exported: Its exported records.
    """
    benchmark = exported[0].results.benchmark
    parts = [f"# {plain(benchmark.name)}: {plain(benchmark.title)}", plain(benchmark.question)]
    for each in exported:
        parts += _record_section(each)
    return "\n\n".join(parts) + "\n"


def figure_files(exported: ExportedResults) -> dict[str, str]:
    """Return the names of the files of a record's figures, by what they show; draw none."""
    results = exported.results
    shown = {
        "by-view": view_factors(results),
        "by-joint-view": joint_views(results, ACCURACY_BY_JOINT_VIEW, "accuracy"),
        "varied": varied_curves(results),
        "cost": cost_curves(results),
    }
    start = f"results-{exported.name}-{exported.path.stem}"
    return {name: f"{start}-{name}.svg" for name, each in shown.items() if each}


def benchmark_figures(exported: ExportedResults) -> dict[str, Figure]:
    """Draw the figures of a record, by the name of the file."""
    from capsbench.reporting.figures.cost_figure import cost_figure
    from capsbench.reporting.figures.heat_map import accuracy_by_joint_view
    from capsbench.reporting.figures.scaling_figures import varied_figure
    from capsbench.reporting.figures.view_figure import accuracy_by_view

    draw = {
        "by-view": accuracy_by_view,
        "by-joint-view": accuracy_by_joint_view,
        "varied": varied_figure,
        "cost": cost_figure,
    }
    figures = {file: draw[name](exported.results) for name, file in figure_files(exported).items()}
    return {file: figure for file, figure in figures.items() if figure}


def _record_section(exported: ExportedResults) -> Iterator[str]:
    results, record = exported.results, exported.results.record
    yield f"## {plain('Full size' if record.size == FULL else f'Size: {record.size}')}"
    yield plain(networks(results))
    if record.change_texts:
        size = "" if record.size == FULL else f"At another size ({record.size}). "
        data = f"On {results.benchmark.data.name}. " if record.other_data else ""
        yield f"> **{plain(size + data)}Changed:** {plain(listed(record.change_texts))}."
    if sentences := answers(results, exported.differences):
        yield "\n".join(f"* {plain(answer)}" for answer in sentences)
        yield CHOSEN
    labels = [entry.label for entry in results.benchmark.models]
    yield f"**Tuning.** {plain(tuning(record, labels))}"
    for file in figure_files(exported).values():
        yield f"![{plain(results.benchmark.title)}](../figures/{file})"
    for table in result_tables(results, exported.differences):
        yield render_markdown.render(table, level=3)
    yield origin(record.command, results.cells, record.provenance, exported.path)
