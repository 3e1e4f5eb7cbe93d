"""``capsbench results``: check exported records, keep those of others, write their page."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capsbench.errors import UserError

if TYPE_CHECKING:
    from capsbench.reporting.claims_export import KeptClaims
    from capsbench.reporting.export import Kept

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
    from capsbench.reporting.claims_export import KeptClaims
    from capsbench.reporting.export import Kept
    from capsbench.reporting.results_page import render, write_page

    added = files or []
    for path in added:
        if not path.is_file():
            raise UserError(f"{path} is no file; name what 'capsbench report --export' wrote")
        if not FILE_NAME.fullmatch(path.name):
            raise UserError(
                f"{path}: name the file with small letters, digits and '-', such as full-h100.json"
            )
    found = {path: _checked(path) for path in [*sorted(folder.glob("*/*.json")), *added]}
    places = {path: folder / found[path].name / path.name for path in added}
    for place, count in Counter(places.values()).items():
        if count > 1:
            raise UserError(f"{count} of the files would be {place}: give them different names")
    for path, place in places.items():
        if place.is_file() and place.read_bytes() != path.read_bytes():
            raise UserError(
                f"{place} is there already, with other numbers for the same cells: give {path} "
                "another name to keep both, or remove the old one"
            )
    every = [
        replace(kept, path=places.get(path, path))
        for path, kept in found.items()
        if places.get(path, path) == path or places[path] not in found  # not one that is kept
    ]
    every.sort(key=lambda kept: kept.path)
    kept_ones = [kept for kept in every if isinstance(kept, Kept)]
    claims = [kept for kept in every if isinstance(kept, KeptClaims)]
    render(kept_ones, claims)  # before any file is put in place
    for path, place in places.items():
        write_bytes(place, path.read_bytes())
        typer.echo(f"kept as {place}")
    typer.echo(f"{len(every)} records are sound")
    if write:
        for made in write_page(kept_ones, claims, PAGE):
            typer.echo(made)


def _checked(path: Path) -> Kept | KeptClaims:
    """A sound record, of a benchmark or of claims."""
    from capsbench.reporting.checks import check_export
    from capsbench.reporting.claims_export import check_claims, is_claims_export, read_claims
    from capsbench.reporting.export import in_shipped_words, read_export

    if is_claims_export(path):
        claims = read_claims(path)
        check_claims(claims)
        return claims
    kept = read_export(path)
    check_export(kept)
    return in_shipped_words(kept)
