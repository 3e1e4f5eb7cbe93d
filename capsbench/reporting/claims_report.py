"""The report of claims: a page and Markdown, made from records and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError

from capsbench.arguments import one_line
from capsbench.errors import UserError
from capsbench.records import read_json, write_bytes
from capsbench.reporting.claims import Judged, judge, table_of_tests, verdict_table
from capsbench.reporting.markdown import markdown_table, plain
from capsbench.reporting.page import templates
from capsbench.reporting.plain_table import PlainTable
from capsbench.reporting.results import Results, load
from capsbench.reporting.style import SERIES
from capsbench.schema.claims import Claims

RECORD = "claims.json"


@dataclass(frozen=True)
class ClaimsRecord:
    """What a run of claims leaves behind: the claims, and the folders of their parts.

    Attributes:
        claims: The claims.
        scale: The scale, None at the default size.
        parts: The folders of the parts' benchmarks, beside its own.
        command: The command.
        date: When it was given.
        commit: Of which code.
    """

    claims: Claims
    scale: str | None
    parts: dict[str, str]
    command: str
    date: str
    commit: str | None = None


@dataclass(frozen=True)
class ClaimsResults:
    """The record with what the parts' records say."""

    record: ClaimsRecord
    parts: dict[str, Results]

    def judged(self) -> list[Judged]:
        """The verdicts."""
        return judge(self.record.claims, self.parts)


def load_record(folder: Path) -> ClaimsResults:
    """Read the record of claims and those of their parts.

    Raises:
        UserError: One is missing or damaged.
    """
    path = folder / RECORD
    try:
        record = TypeAdapter(ClaimsRecord).validate_python(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path} is damaged ({one_line(error)}); run the claims again") from None
    return ClaimsResults(
        record, {part: load(folder.parent / name) for part, name in record.parts.items()}
    )


def claims_in(path: Path) -> list[Path]:
    """The folders of claims at a path: a runs folder, or the folder of claims itself."""
    if (path / RECORD).is_file():
        return [path]
    return sorted(record.parent for record in path.glob(f"*/{RECORD}"))


def part_folders(folder: Path) -> list[str]:
    """The names of the folders of the parts of claims."""
    return list(load_record(folder).record.parts.values())


def build(folder: Path) -> Path:
    """Build ``folder/report/`` from the records.

    Args:
        folder: ``runs/claims``.

    Returns:
        The path of ``index.html``.
    """
    found = load_record(folder)
    judged = found.judged()
    tables = claim_tables(judged, found.record.scale)
    record, report = found.record, folder / "report"
    write_bytes(report / "report.md", render_markdown(record, tables).encode())
    environment = templates()
    style = environment.get_template("style.css").render(palette=SERIES)
    page = environment.get_template("claims.html.jinja").render(
        claims=record.claims,
        record=record,
        tables=tables,
        pages={
            part: f"../../{quote(name)}/report/index.html" for part, name in record.parts.items()
        },
        questions={part: each.benchmark.question for part, each in found.parts.items()},
        style=Markup(style),
    )
    index = report / "index.html"
    write_bytes(index, page.encode())
    return index


def claim_tables(judged: list[Judged], scale: str | None) -> list[PlainTable]:
    """The table of verdicts, and those of each claim's tests."""
    tests = [table_of_tests(each, number, scale) for number, each in enumerate(judged, start=1)]
    return [verdict_table(judged, scale), *tests]


def render_markdown(record: ClaimsRecord, tables: list[PlainTable], *, level: int = 1) -> str:
    """The report as Markdown text."""
    mark = "#" * level
    claims = record.claims
    parts = [f"{mark} {plain(claims.title)}", plain(claims.question)]
    if record.scale is not None:
        parts.append(
            f"> **At the scale '{plain(record.scale)}', not at full size**: no verdict here is one "
            "on the claim at large."
        )
    for table in tables:
        parts += [
            f"{mark}# {plain(table.title)}",
            markdown_table(table.columns, table.rows),
            plain(table.caption),
        ]
    return "\n\n".join(parts) + "\n"
