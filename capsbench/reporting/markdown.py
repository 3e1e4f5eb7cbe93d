"""The report in Markdown: the question, the answer, the tables and the protocol."""

from __future__ import annotations

from collections.abc import Sequence

from capsbench.records import Results
from capsbench.reporting import protocol
from capsbench.reporting.charts.section import ChartSection
from capsbench.reporting.comparisons.aggregate import view_factors
from capsbench.reporting.comparisons.answers import CHOSEN, answers
from capsbench.reporting.comparisons.differences import ModelDifference
from capsbench.reporting.formatting import listed
from capsbench.reporting.networks import networks
from capsbench.reporting.provenance import versions
from capsbench.reporting.tables import render_markdown
from capsbench.reporting.tables.render_markdown import plain
from capsbench.reporting.tables.table import Table
from capsbench.reporting.tables.view_tables import view_table


def render(
    results: Results,
    tables: Sequence[Table],
    differences: Sequence[ModelDifference],
    sections: Sequence[ChartSection],
) -> str:
    """Return the report as Markdown text.

    Args:
        results: The records.
        tables: The tables of the result.
        differences: The differences between models.
        sections: The charts of measures, whose captions and notes are written.
    """
    benchmark, record = results.benchmark, results.record
    parts = [f"# {plain(benchmark.title)}", plain(benchmark.question), plain(networks(results))]
    if record.change_texts:
        changed = plain(listed(record.change_texts))
        parts.append(f"> **{record.change_title}** Changed: {changed}.")
    sentences = answers(results, differences)
    parts += [*map(plain, sentences), CHOSEN] if sentences else []
    parts += [render_markdown.render(table) for table in tables]
    for factor in view_factors(results):
        parts.append(render_markdown.render(view_table(results, factor)))
    for each in sections:
        caption = each.caption
        parts += [f"### {plain(caption.title)}", plain(caption.text), plain(caption.description)]
        if caption.notes:
            notes = (
                f"- {plain(title)}: {plain(' '.join(n))}" for title, n in caption.notes.items()
            )
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
