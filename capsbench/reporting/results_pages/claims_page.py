"""The page of claims in the documentation: the verdicts of each exported record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from capsbench.records.benchmark import FULL
from capsbench.reporting.claims_report import render_claims
from capsbench.reporting.comparisons.claim_answers import claim_answers
from capsbench.reporting.exports.claims_export import ExportedClaims
from capsbench.reporting.results_pages.origin import origin
from capsbench.reporting.tables import render_markdown
from capsbench.reporting.tables.claims_tables import claim_tables
from capsbench.reporting.tables.leave_one_out_table import leave_one_out_table
from capsbench.reporting.tables.render_markdown import plain
from capsbench.reporting.tuning import tuning_of_part


def render_claims_page(exported: Sequence[ExportedClaims]) -> str:
    """Return the page of claims as Markdown text.

    Args:
        exported: Their exported records.
    """
    claims = exported[0].record.claims
    parts = [f"# {plain(claims.title)}", plain(claims.question)]
    for each in exported:
        parts += _record_section(each)
    return "\n\n".join(parts) + "\n"


def _record_section(exported: ExportedClaims) -> Iterator[str]:
    record = exported.record
    size = "Full size" if exported.size == FULL else f"Scale {exported.size}"
    yield f"## {plain(size)}"
    tables = claim_tables(exported.judged, record.scale)
    yield render_claims(record, claim_answers(exported.judged), tables, level=3)
    if table := leave_one_out_table(exported.judged, exported.parts):
        yield render_markdown.render(table, level=3)
    for part in record.claims.parts:
        tuned = tuning_of_part(record.claims, part, record.scale)
        yield f"**Tuning, {plain(part)}.** {plain(tuned)}"
    yield origin(record.command, exported.cells, record.provenance, exported.path)
