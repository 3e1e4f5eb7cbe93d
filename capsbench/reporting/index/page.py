"""The page of a runs folder: leaderboard, benchmarks, models and history."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from capsbench.files.atomic import write_bytes
from capsbench.files.lease import lease
from capsbench.records import BenchmarkFolder, benchmarks_in
from capsbench.reporting.index.history import history
from capsbench.reporting.index.models import Summaries, leaderboard, models_of, page_of
from capsbench.reporting.index.summary import NAME, Summary
from capsbench.reporting.tables import render_html

PAGE = "index.html"
LEASE = ".index"  # of the page, in the runs folder


def build_index(runs: Path) -> Path:
    """Build the page of a runs folder from the summaries beside the pages of its benchmarks.

    Args:
        runs: The runs folder.

    Returns:
        Path of the page.
    """
    with lease(runs / LEASE, "build the page of all benchmarks"):
        names = benchmarks_in(runs)
        summaries = {name: each for name in names if (each := _read(runs / name))}
        missing = [name for name in names if name not in summaries]
        content = render_index(summaries, missing).encode()
        if not (runs / PAGE).is_file() or (runs / PAGE).read_bytes() != content:
            write_bytes(runs / PAGE, content)
    return runs / PAGE


def _read(folder: Path) -> Summary | None:
    """Return the summary beside the page of a benchmark; None if it has no page of this version."""
    try:
        content = (BenchmarkFolder(folder).report / NAME).read_bytes()
        return Summary.model_validate_json(content)
    except (FileNotFoundError, ValidationError):
        return None


def render_index(summaries: Summaries, missing: Sequence[str] = ()) -> str:
    """Return the page as HTML.

    Args:
        summaries: Summary of each benchmark, by the name of its folder.
        missing: Names of the benchmarks that have no page of this version.
    """
    models = models_of(summaries)
    return render_html.render(
        "runs.html.jinja",
        summaries=summaries,
        missing=missing,
        page_of=page_of,
        leaderboard=leaderboard(summaries, models),
        families=sorted({model.family for model in models if model.family}),
        models=models,
        history=history(summaries),
    )
