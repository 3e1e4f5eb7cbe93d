"""``capsbench report``: build the pages again from records, or export the records."""

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
            help="Also export each benchmark's numbers to a file there, such as results.",
        ),
    ] = None,
) -> None:
    """Build every benchmark's page again from records.

    Nothing is trained or measured; the path of each page is printed. An exported file holds all
    numbers with their provenance, without weights or images; ``capsbench results`` reads it.
    """
    from capsbench.reporting import claims_report, report
    from capsbench.reporting.exports.claims_export import export_claims
    from capsbench.reporting.exports.export import export_benchmark

    claims = claims_report.claims_folders(runs)
    parts = {part for folder in claims for part in claims_report.part_folders(folder)}
    for folder in claims:
        typer.echo(claims_report.build(folder))
        if export is not None:
            typer.echo(export_claims(folder, export))
    for folder in () if claims == [runs] else report.benchmarks_in(runs):
        typer.echo(report.build(folder))
        if export is not None and folder.name not in parts:  # a part's numbers are in the claims'
            typer.echo(export_benchmark(folder, export))
