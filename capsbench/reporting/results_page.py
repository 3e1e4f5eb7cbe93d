"""The page of results in the documentation, made from exported records alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capsbench.files.atomic import write_bytes
from capsbench.records import CellResult, Provenance
from capsbench.records.benchmark import FULL
from capsbench.reporting.claims_report import render_claims
from capsbench.reporting.exports.claims_export import ExportedClaims
from capsbench.reporting.exports.export import ExportedResults
from capsbench.reporting.exports.revisions import earlier_revisions
from capsbench.reporting.exports.search_checks import ExportedSearch
from capsbench.reporting.formatting import listed
from capsbench.reporting.networks import networks
from capsbench.reporting.tables import render_markdown
from capsbench.reporting.tables.claims_tables import claim_tables
from capsbench.reporting.tables.render_markdown import code, plain
from capsbench.reporting.tables.result_tables import result_tables
from capsbench.reporting.tables.results_overview import (
    all_differences_table,
    all_published_table,
    overview_table,
)
from capsbench.reporting.tables.searches_table import searches_table
from capsbench.reporting.tuning import tuning, tuning_of_part

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEAD = """# Results

Measured numbers from the records in `results/`, each with its command, commit, device and date.
`capsbench results --write` makes this page from them; nothing on it is written by hand. A size
other than `full` is a smaller protocol than the shipped one, and says nothing about the full one.
'Reproduced' means that the published number lies in the 95 % interval of the measured mean over
seeds, or that its own ± reaches the interval. Below three seeds nothing is decided. At another
size, or on another data set, there is no verdict. Numbers marked 'matched' come from a rule that
sees test labels; each record states the rule that selected its weights. 'Earlier revisions' marks
numbers of a model, data module or measure whose numbers have changed since; the section of each
record names them."""

NO_CLAIMS = """Verdicts on the article's claims are missing: the present version of their file has
not been measured. `capsbench run claims --scale cpu` and `capsbench report --export results` add
them."""


def render(
    exported: Sequence[ExportedResults],
    claims: Sequence[ExportedClaims] = (),
    searches: Sequence[ExportedSearch] = (),
) -> str:
    """Return the page as Markdown text.

    Args:
        exported: Exported records of benchmarks, in the order of the page.
        claims: Those of claims.
        searches: Those of searches.
    """
    parts = [HEAD, *([] if claims else [NO_CLAIMS])]
    for each in claims:
        parts += _claims_section(each)
    parts += [
        render_markdown.render(table)
        for table in (
            overview_table(exported),
            all_differences_table(exported),
            all_published_table(exported),
        )
    ]
    for one in exported:
        parts += _benchmark_section(one)
    if table := searches_table([each.record for each in searches]):
        parts.append(render_markdown.render(table))
    return "\n\n".join(parts) + "\n"


def write_page(
    exported: Sequence[ExportedResults],
    claims: Sequence[ExportedClaims],
    searches: Sequence[ExportedSearch],
    page: Path,
) -> list[Path]:
    """Write the page and its figures; figures of records that are gone are removed.

    Args:
        exported: Exported records of benchmarks.
        claims: Those of claims.
        searches: Those of searches.
        page: File of the page; its figures are written to the folder ``figures`` next to it.

    Returns:
        The files.
    """
    from capsbench.reporting.figures.plotting import svg  # imports matplotlib

    files = [page]
    for each in exported:
        for name, figure in _figures(each).items():
            path = page.parent / "figures" / name
            write_bytes(path, svg(figure))
            files.append(path)
    for old in (page.parent / "figures").glob("results-*.svg"):
        if old not in files:
            old.unlink()
    write_bytes(page, render(exported, claims, searches).encode())
    return files


def _figures(exported: ExportedResults) -> dict[str, Figure]:
    """Draw the figures of a record, by the name of the file."""
    from capsbench.reporting.figures.cost_figure import cost_figure
    from capsbench.reporting.figures.heat_map import accuracy_by_joint_view
    from capsbench.reporting.figures.scaling_figures import varied_figure
    from capsbench.reporting.figures.view_figure import accuracy_by_view

    results = exported.results
    figures = {
        "by-view": accuracy_by_view(results),
        "by-joint-view": accuracy_by_joint_view(results),
        "varied": varied_figure(results),
        "cost": cost_figure(results),
    }
    start = f"results-{exported.name}-{exported.path.stem}"
    return {f"{start}-{name}.svg": figure for name, figure in figures.items() if figure}


def _claims_section(exported: ExportedClaims) -> Iterable[str]:
    record = exported.record
    tables = claim_tables(exported.judged, record.scale)
    yield render_claims(record, tables, level=2).strip()
    for part in record.claims.parts:
        tuned = tuning_of_part(record.claims, part, record.scale)
        yield f"**Tuning, {plain(part)}.** {plain(tuned)}"
    yield _origin(
        record.command,
        [record.provenance.commit or "unknown"],
        exported.cells,
        record.provenance,
        exported.path,
    )


def _benchmark_section(exported: ExportedResults) -> Iterable[str]:
    results, record = exported.results, exported.results.record
    yield f"## {plain(exported.name)}: {plain(results.benchmark.title)}"
    yield plain(results.benchmark.question)
    yield plain(networks(results))
    if record.change_texts:
        size = "" if record.size == FULL else f"At another size ({record.size}). "
        data = f"On {results.benchmark.data.name}. " if record.other_data else ""
        yield f"> **{plain(size + data)}Changed:** {plain(listed(record.change_texts))}."
    labels = [entry.label for entry in results.benchmark.models]
    yield f"**Tuning.** {plain(tuning(record, labels))}"
    for name in _figures(exported):
        yield f"![{plain(results.benchmark.title)}](figures/{name})"
    for table in result_tables(results, exported.differences):
        yield render_markdown.render(table, level=3)
    trained = [cell.training for cell in results.cells if cell.training]
    commits = list(dict.fromkeys(each.provenance.commit or "unknown" for each in trained))
    yield _origin(record.command, commits, results.cells, record.provenance, exported.path)


def _origin(
    command: str,
    commits: Sequence[str],
    cells: Sequence[CellResult],
    provenance: Provenance,
    path: Path,
) -> str:
    """Return command, commits, devices, date, versions, file and revisions of a record."""
    trained = [cell.training for cell in cells if cell.training]
    devices = list(dict.fromkeys(each.execution.device_name for each in trained))
    versions: Mapping[str, str] = dict(
        item for each in trained for item in each.provenance.versions.items()
    )
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    earlier = earlier_revisions(cells)
    note = f" Measured with earlier revisions: {plain(listed(earlier))}." if earlier else ""
    return (
        f"*{code(command)}, commit {plain(listed([commit[:7] for commit in commits]))}, "
        f"{plain(listed(devices))}, {plain(provenance.date[:10])}; {plain(packages)}. "
        f"Record: {code(f'results/{path.parent.name}/{path.name}')}.{note}*"
    )
