"""``capsbench results``: check exported records, keep those of others, write their page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capsbench.errors import UserError

PAGE = Path("docs/results.md")


def results(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Exported records to be kept, too."),
    ] = None,
    folder: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where exported records are kept.")
    ] = Path("results"),
    write: Annotated[
        bool, typer.Option("--write", help=f"Write {PAGE} and its figure from what is kept.")
    ] = False,
) -> None:
    """Check the exported records that are kept, and those that are named.

    A record must fit the schema, and its protocol must be the shipped one with the changes that it
    names. If all of them pass, those that are named are copied to the others.
    """
    from capsbench.records import write_bytes
    from capsbench.reporting.export import check_export, exports_in, read_export

    kept = exports_in(folder)
    for path in files or []:
        if not path.is_file():
            raise UserError(f"{path} is no file; name what 'capsbench report --export' wrote")
        kept.append(read_export(path))
    for each in kept:
        check_export(each)
    for path, each in zip(files or [], kept[len(kept) - len(files or []) :], strict=True):
        place = folder / each.results.benchmark.name / path.name
        write_bytes(place, path.read_bytes())
        typer.echo(f"kept as {place}")
    typer.echo(f"{len(kept)} records are sound")
    if write:
        from capsbench.reporting.results_page import write_page

        for made in write_page(exports_in(folder), PAGE):
            typer.echo(made)
