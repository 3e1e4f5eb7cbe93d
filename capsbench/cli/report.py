"""``capsbench report``: make the pages anew from records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder of the records.")],
) -> None:
    """Build every benchmark's page anew from records.

    Trains and measures nothing; prints where each page is.
    """
    from capsbench.reporting.report import benchmarks_in, build

    for folder in benchmarks_in(runs):
        typer.echo(build(folder))
