"""``capsbench report``: make the pages anew from records, or put the records in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder of the records.")],
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also put each benchmark's numbers in a file there, such as results.",
        ),
    ] = None,
) -> None:
    """Build every benchmark's page anew from records.

    Trains and measures nothing; prints where each page is. An exported file holds all numbers with
    their provenance, and neither weights nor images; ``capsbench results`` reads it.
    """
    from capsbench.reporting.export import export as write_export
    from capsbench.reporting.report import benchmarks_in, build

    for folder in benchmarks_in(runs):
        typer.echo(build(folder))
        if export is not None:
            typer.echo(write_export(folder, export))
