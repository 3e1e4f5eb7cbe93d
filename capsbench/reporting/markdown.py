"""The report in Markdown: the question, the tables, the files of figures and the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from capsbench.records import Results
from capsbench.reporting import protocol
from capsbench.reporting.comparisons.aggregate import view_factors
from capsbench.reporting.figures.all_figures import CaptionedFigure
from capsbench.reporting.figures.view_figure import describe_curves
from capsbench.reporting.formatting import FACTORS, listed
from capsbench.reporting.networks import networks
from capsbench.reporting.provenance import versions
from capsbench.reporting.tables import render_markdown
from capsbench.reporting.tables.render_markdown import plain
from capsbench.reporting.tables.table import Table


def render(
    results: Results, tables: Sequence[Table], measure_figures: Mapping[str, CaptionedFigure]
) -> str:
    """Return the report as Markdown text.

    Args:
        results: The records.
        tables: The tables of the result.
        measure_figures: The figures of measures, by the names of their files.
    """
    benchmark, record = results.benchmark, results.record
    parts = [f"# {plain(benchmark.title)}", plain(benchmark.question), plain(networks(results))]
    if record.change_texts:
        changed = plain(listed(record.change_texts))
        parts.append(f"> **{record.change_title}** Changed: {changed}.")
    parts += [render_markdown.render(table) for table in tables]
    for factor in view_factors(results):
        description = plain(describe_curves(results, factor))
        parts += [f"### {FACTORS[factor]}", f"![{description}](figures/accuracy-{factor}.svg)"]
    for name, each in measure_figures.items():
        parts += [
            f"### {plain(each.title)}",
            f"![{plain(each.description)}](figures/{name}.svg)",
            plain(each.caption),
        ]
        if each.notes:
            notes = (f"- {plain(title)}: {plain(' '.join(n))}" for title, n in each.notes.items())
            parts.append("Notes:\n\n" + "\n".join(notes))
    terms = (f"- **{term}.** {plain(text)}" for term, text in protocol.protocol_terms(results))
    parts += ["## Protocol", "\n".join(terms)]
    parts += ["## Provenance", "\n".join(f"- {line}" for line in _provenance(results))]
    return "\n\n".join(parts) + "\n"


def _provenance(results: Results) -> list[str]:
    record = results.record
    packages = (f"{name} {value}" for name, value in versions(results))
    return [
        f"Benchmark: {plain(record.benchmark.name)}, version {record.benchmark.version}",
        f"Cells: {len(results.cells)}",
        f"Source: {plain(record.benchmark.source)}",
        f"Command: {plain(record.command)}",
        f"Commit: {plain(record.provenance.commit or 'unknown')}",
        f"Versions: {plain(', '.join(packages) or 'unknown')}",
        f"Date: {plain(record.provenance.date)}",
    ]
