"""All pages of results: what they are named, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from capsbench.files.atomic import write_bytes
from capsbench.reporting.exports.claims_export import ExportedClaims
from capsbench.reporting.exports.export import ExportedResults
from capsbench.reporting.exports.search_checks import ExportedSearch
from capsbench.reporting.results_pages.benchmark_page import benchmark_figures, render_benchmark
from capsbench.reporting.results_pages.claims_page import render_claims_page
from capsbench.reporting.results_pages.front_page import render_answer, render_front
from capsbench.reporting.tables import render_markdown
from capsbench.reporting.tables.searches_table import searches_table

FRONT = "results.md"
ANSWER = "_answer.md"  # of the first page of the site, which includes it
FOLDER = "results"


def result_pages(
    exported: Sequence[ExportedResults],
    claims: Sequence[ExportedClaims] = (),
    searches: Sequence[ExportedSearch] = (),
) -> dict[str, str]:
    """Return every page as Markdown text, by its path in the documentation.

    Args:
        exported: Exported records of benchmarks, sorted by name.
        claims: Those of claims.
        searches: Those of searches.
    """
    table = searches_table([each.record for each in searches])
    pages = {
        FRONT: render_front(exported, claims, has_searches=table is not None),
        ANSWER: render_answer(exported, claims) + "\n",
    }
    for name, records in groupby(exported, key=lambda each: each.name):
        pages[f"{FOLDER}/{name}.md"] = render_benchmark(list(records))
    for name, verdicts in groupby(claims, key=lambda each: each.name):
        pages[f"{FOLDER}/{name}.md"] = render_claims_page(list(verdicts))
    if table is not None:
        pages[f"{FOLDER}/searches.md"] = render_markdown.render(table, level=1) + "\n"
    return pages


def write_pages(
    exported: Sequence[ExportedResults],
    claims: Sequence[ExportedClaims],
    searches: Sequence[ExportedSearch],
    folder: Path,
) -> list[Path]:
    """Write the pages and their figures; those of records that are gone are removed.

    Args:
        exported: Exported records of benchmarks, sorted by name.
        claims: Those of claims.
        searches: Those of searches.
        folder: Folder of the documentation.

    Returns:
        The files.
    """
    from capsbench.reporting.figures.plotting import svg  # imports matplotlib

    contents = {
        folder / "figures" / name: svg(figure)
        for each in exported
        for name, figure in benchmark_figures(each).items()
    }
    contents |= {
        folder / path: text.encode()
        for path, text in result_pages(exported, claims, searches).items()
    }
    for path, content in contents.items():
        write_bytes(path, content)
    for old in [*(folder / "figures").glob("results-*.svg"), *(folder / FOLDER).glob("*.md")]:
        if old not in contents:
            old.unlink()
    return list(contents)
