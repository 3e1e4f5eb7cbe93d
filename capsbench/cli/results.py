"""``capsbench results``: check exported records, add new ones, write the results page."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capsbench.errors import UserError

if TYPE_CHECKING:
    from capsbench.reporting.exports.claims_export import ExportedClaims
    from capsbench.reporting.exports.export import ExportedResults

PAGE = Path("docs/results.md")
FILE_NAME = re.compile(r"[a-z0-9-]+\.json")


def results(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Exported records to add."),
    ] = None,
    folder: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of exported records.")
    ] = Path("results"),
    write: Annotated[
        bool, typer.Option("--write", help=f"Write {PAGE} and its figures from the records.")
    ] = False,
) -> None:
    """Check exported records: those of the folder, and the given files.

    A record must fit the schema, and its protocol must be the shipped one with the changes that it
    names. If all records pass, the given files are copied into the folder; no file is replaced.
    """
    from capsbench.files.atomic import write_bytes
    from capsbench.reporting.exports.claims_export import ExportedClaims
    from capsbench.reporting.exports.export import ExportedResults
    from capsbench.reporting.results_page import render, write_page

    if write:
        _require_checkout()
    added = files or []
    for path in added:
        if not path.is_file():
            raise UserError(
                f"{path} is no file; name a file that 'capsbench report --export' wrote"
            )
        if not FILE_NAME.fullmatch(path.name):
            raise UserError(
                f"{path}: rename it with lower-case letters, digits and '-', such as full-h100.json"
            )
    records = {path: _checked(path) for path in [*sorted(folder.glob("*/*.json")), *added]}
    targets = {path: folder / records[path].name / path.name for path in added}
    for target, count in Counter(targets.values()).items():
        if count > 1:
            raise UserError(f"{count} of the files would become {target}: rename them")
    for path, target in targets.items():
        if target.is_file() and target.read_bytes() != path.read_bytes():
            raise UserError(
                f"{target} exists, with other numbers for the same cells: rename {path} "
                "to keep both, or remove the old one"
            )
    exported = [
        replace(each, path=targets.get(path, path))
        for path, each in records.items()
        if targets.get(path, path) == path
        or targets[path] not in records  # not a copy of one in the folder
    ]
    exported.sort(key=lambda each: each.path)
    benchmarks = [each for each in exported if isinstance(each, ExportedResults)]
    claims = [each for each in exported if isinstance(each, ExportedClaims)]
    render(benchmarks, claims)  # fails before any file is copied
    for path, target in targets.items():
        write_bytes(target, path.read_bytes())
        typer.echo(f"copied to {target}")
    typer.echo(f"{len(exported)} records are valid")
    if write:
        for written in write_page(benchmarks, claims, PAGE):
            typer.echo(written)


def _require_checkout() -> None:
    """Refuse to write the page anywhere but in the checkout that this package comes from.

    Raises:
        UserError: The package is installed without a checkout, or the working directory is another.
    """
    import capsbench

    root = Path(capsbench.__file__).resolve().parents[1]
    if not (root / "pyproject.toml").is_file():
        raise UserError(
            f"--write writes {PAGE} of a checkout, but this capsbench is installed without one: "
            "use the capsbench of a clone"
        )
    if Path.cwd().resolve() != root:
        raise UserError(
            f"--write writes {PAGE} of the checkout {root}, but the working directory is "
            f"{Path.cwd()}: change to the checkout"
        )


def _checked(path: Path) -> ExportedResults | ExportedClaims:
    """Read and check a record of a benchmark or of claims."""
    from capsbench.reporting.exports.checks import check_export
    from capsbench.reporting.exports.claims_checks import check_claims
    from capsbench.reporting.exports.claims_export import load_claims_export
    from capsbench.reporting.exports.export import is_claims_export, load_export, with_shipped_texts

    if is_claims_export(path):
        claims = load_claims_export(path)
        check_claims(claims)
        return claims
    exported = load_export(path)
    check_export(exported)
    return with_shipped_texts(exported)
