"""``capsbench results``: check exported records, keep those of others, write their page."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from capsbench.errors import UserError

PAGE = Path("docs/results.md")
FILE_NAME = re.compile(r"[a-z0-9-]+\.json")


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
    names. If all of them pass, those that are named are copied to the others; none replaces
    another.
    """
    from capsbench.records import write_bytes

    added = files or []
    for path in added:
        if not path.is_file():
            raise UserError(f"{path} is no file; name what 'capsbench report --export' wrote")
        if not FILE_NAME.fullmatch(path.name):
            raise UserError(
                f"{path}: name the file with small letters, digits and '-', such as full-h100.json"
            )
    kept = sorted(folder.glob("*/*.json"))
    names = {path: _checked(path) for path in [*kept, *added]}
    places = {path: folder / names[path] / path.name for path in added}
    for place, count in Counter(places.values()).items():
        if count > 1:
            raise UserError(f"{count} of the files would be {place}: give them different names")
    for path, place in places.items():
        if place.is_file() and place.read_bytes() != path.read_bytes():
            raise UserError(
                f"{place} is there already, with other numbers for the same cells: give {path} "
                "another name to keep both, or remove the old one"
            )
    for path, place in places.items():
        write_bytes(place, path.read_bytes())
        typer.echo(f"kept as {place}")
    typer.echo(f"{len(names)} records are sound")
    if write:
        from capsbench.reporting.claims_export import claims_exports_in
        from capsbench.reporting.export import exports_in
        from capsbench.reporting.results_page import write_page

        for made in write_page(exports_in(folder), claims_exports_in(folder), PAGE):
            typer.echo(made)


def _checked(path: Path) -> str:
    """The name of the benchmark, or of the claims, that a sound record is of."""
    from capsbench.reporting.checks import check_export
    from capsbench.reporting.claims_export import check_claims, is_claims_export, read_claims
    from capsbench.reporting.export import read_export

    if is_claims_export(path):
        claims = read_claims(path)
        check_claims(claims)
        return claims.record.claims.name
    kept = read_export(path)
    check_export(kept)
    return kept.results.benchmark.name
