"""Report of claims: a page and Markdown, made from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from capsbench.errors import UserError
from capsbench.files.atomic import remove_link
from capsbench.files.lease import lease
from capsbench.files.leftovers import clear_leftovers
from capsbench.records import BenchmarkFolder, ClaimsRecord, Results, load_results
from capsbench.records.one_version import require_one_revision
from capsbench.reporting.comparisons.claim_answers import ClaimAnswer, claim_answers
from capsbench.reporting.comparisons.claims import JudgedClaim, judge
from capsbench.reporting.index.page import build_index
from capsbench.reporting.index.summary import NAME, claims_summary
from capsbench.reporting.stamp import claims_inputs, is_current, write_report
from capsbench.reporting.tables import render_html, render_markdown
from capsbench.reporting.tables.claims_tables import claim_tables
from capsbench.reporting.tables.render_markdown import plain
from capsbench.reporting.tables.table import Table


@dataclass(frozen=True)
class ClaimsResults:
    """Record of claims with the results of each part."""

    record: ClaimsRecord
    parts: dict[str, Results]

    def judged(self) -> list[JudgedClaim]:
        """Return the verdicts."""
        return judge(self.record.claims, self.parts, self.record.scale)


def load_claims_results(folder: Path) -> ClaimsResults:
    """Load the record of claims and the records of their parts.

    Raises:
        UserError: A record is missing or damaged, or the parts are of different revisions.
    """
    record = ClaimsRecord.load(BenchmarkFolder(folder).claims)
    parts = {
        # Claims are on models of the protocol alone.
        part: load_results(folder.parent / name).under_protocol()
        for part, name in record.parts.items()
    }
    _require_one_version(folder, record, parts)
    return ClaimsResults(record, parts)


def _require_one_version(folder: Path, record: ClaimsRecord, parts: dict[str, Results]) -> None:
    """Refuse parts of which a run that was stopped has repeated only some."""
    cells = [cell for part in parts.values() for cell in part.cells]
    require_one_revision(BenchmarkFolder(folder).claims, cells)
    versions: dict[str, int] = {}
    for part, results in parts.items():
        benchmark, version = record.claims.parts[part].benchmark, results.benchmark.version
        if versions.setdefault(benchmark, version) != version:
            raise UserError(
                f"{folder} would mix versions {versions[benchmark]} and {version} of "
                f"'{benchmark}' in one table: run the claims again"
            )


def part_folders(folder: Path) -> list[str]:
    """Return the names of the folders of the parts of claims."""
    return list(ClaimsRecord.load(BenchmarkFolder(folder).claims).parts.values())


def build(folder: Path) -> Path:
    """Build ``folder/report/`` from the records, unless nothing has changed since it was built.

    Args:
        folder: ``runs/<claims>``.

    Returns:
        Path of ``index.html``.
    """
    files = BenchmarkFolder(folder)
    record = ClaimsRecord.load(files.claims)  # before anything is written in another folder
    with lease(files.report_lease, "build the page"):
        inputs = claims_inputs(folder, record.parts.values())
        if not is_current(files.report, inputs):
            _write(folder, files.report, inputs)
    build_index(folder.parent)
    return files.report / "index.html"


def _write(folder: Path, report: Path, inputs: str) -> None:
    from capsbench.reporting.charts.claim_charts import claim_charts  # imports Altair

    results = load_claims_results(folder)
    record = results.record
    judged = results.judged()
    tables = claim_tables(judged, record.scale)
    answers = claim_answers(judged)
    summary = claims_summary(record, [each.text for each in answers]).model_dump_json(indent=1)
    page = render_html.render(
        "claims.html.jinja",
        charts=True,
        answers=answers,
        panels=dict.fromkeys((table.name for table in tables), None) | claim_charts(judged),
        claims=record.claims,
        record=record,
        tables=tables,
        pages={
            part: f"../../{quote(name)}/report/index.html" for part, name in record.parts.items()
        },
        questions={part: each.benchmark.question for part, each in results.parts.items()},
    )
    remove_link(report)
    clear_leftovers(report)
    claims = record.claims
    heading = f"# {plain(claims.title)}\n\n{plain(claims.question)}"
    text = f"{heading}\n\n{render_claims(record, answers, tables, level=2)}\n"
    texts = {"report.md": text, NAME: summary, "index.html": page}
    write_report(report, inputs, {name: each.encode() for name, each in texts.items()})


def render_answers(answers: Sequence[ClaimAnswer]) -> str:
    """Return the answers to claims as a list in Markdown, the verdicts in bold."""
    return "\n".join(f"* **{plain(each.verdict)}** {plain(each.tests)}" for each in answers)


def render_claims(
    record: ClaimsRecord, answers: Sequence[ClaimAnswer], tables: Sequence[Table], *, level: int
) -> str:
    """Return answers and tables of claims as Markdown text.

    Args:
        record: The record.
        answers: The answers in sentences.
        tables: The tables.
        level: Level of the headings.
    """
    parts = []
    if record.scale is not None:
        parts.append(
            f"> **At the scale '{plain(record.scale)}', not at full size**: no verdict here is one "
            "on the claim in general."
        )
    parts.append(render_answers(answers))
    parts += [render_markdown.render(table, level=level) for table in tables]
    return "\n\n".join(parts)
