"""``capsbench results``: check exported records, add new ones, write the pages of results."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capsbench.cli.options import AsJson, json_on_stdout, print_json
from capsbench.environment.streams import print_line
from capsbench.errors import UserError

if TYPE_CHECKING:
    from capsbench.reporting.exports.claims_export import ExportedClaims
    from capsbench.reporting.exports.export import ExportedResults
    from capsbench.reporting.exports.exported import Exported
    from capsbench.reporting.exports.search_checks import ExportedSearch

DOCS = Path("docs")
FOLDER = Path("results")
PAGES = "docs/results.md, docs/_answer.md, docs/results/ and their figures"
FILE_NAME = re.compile(r"[a-z0-9-]+\.json")


def results(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Exported records to add."),
    ] = None,
    folder: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of exported records.")
    ] = FOLDER,
    write: Annotated[
        bool, typer.Option("--write", help=f"Write {PAGES} from the records.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check exported records: those of the folder, and the given files.

    A record must fit the schema, and its protocol must be the shipped one with the changes that it
    names. If all records pass, the given files are copied into the folder; no file is replaced.
    With --json all records are listed, also those that do not pass; the exit code is then 2.
    """
    if write:
        _require_checkout()
        if folder.resolve() != FOLDER.resolve():
            raise UserError(
                f"--write makes the pages of {FOLDER}/, and removes those of other records, got "
                f"--folder {folder}: leave out one of them"
            )
    added = files or []
    for path in added:
        _require_exported(path)
    rows: dict[Path, dict[str, Any]] = {}
    with json_on_stdout(as_json):
        records: dict[Path, Exported] = {}
        for path in [*sorted(folder.glob("*/*.json")), *added]:
            try:
                records[path] = _checked(path)
            except UserError as error:
                if not as_json:
                    raise
                rows[path] = _row(path, problem=str(error))
        if not rows:
            exported, copied = _add(records, added, folder)
            written = _write(exported) if write else []
            rows = {each.path: _row(each.path, each) for each in exported}
        else:
            rows |= {path: _row(path, each) for path, each in records.items()}
    if as_json:
        print_json([rows[path] for path in sorted(rows)])
        if not all(row["valid"] for row in rows.values()):
            raise typer.Exit(2)
        return
    from capsbench.reporting.formatting import counted

    for path in copied:
        print_line(f"copied to {path}")
    print_line(counted(len(exported), "valid record"))
    for path in written:
        print_line(path)


def _require_exported(path: Path) -> None:
    """Refuse a path that cannot be an exported record.

    Raises:
        UserError: It is no file, or its name does not fit.
    """
    if not path.is_file():
        raise UserError(f"{path} is no file; name a file that 'capsbench report --export' wrote")
    if not FILE_NAME.fullmatch(path.name):
        raise UserError(
            f"{path}: rename it with lower-case letters, digits and '-', such as full-h100.json"
        )


def _add(
    records: Mapping[Path, Exported], added: Sequence[Path], folder: Path
) -> tuple[list[Exported], list[Path]]:
    """Copy valid records into the folder.

    Args:
        records: All records by their files.
        added: Files of those that are copied.
        folder: Folder of exported records.

    Returns:
        All records with their files in the folder, and the copies.

    Raises:
        UserError: A copy would replace another file, or the pages cannot be made of the records.
    """
    from capsbench.files.atomic import write_bytes
    from capsbench.reporting.results_pages.pages import result_pages

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
    exported: list[Exported] = [
        replace(each, path=targets.get(path, path))
        for path, each in records.items()
        if targets.get(path, path) == path
        or targets[path] not in records  # not a copy of one in the folder
    ]
    exported.sort(key=lambda each: each.path)
    result_pages(*_by_kind(exported))  # fails before any file is copied
    for path, target in targets.items():
        write_bytes(target, path.read_bytes())
    return exported, list(targets.values())


def _write(exported: Sequence[Exported]) -> list[Path]:
    """Write the pages and their figures; return the files."""
    from capsbench.reporting.results_pages.pages import write_pages

    return write_pages(*_by_kind(exported), DOCS)


def _by_kind(
    exported: Sequence[Exported],
) -> tuple[list[ExportedResults], list[ExportedClaims], list[ExportedSearch]]:
    """Return the records of benchmarks, those of claims, and those of searches."""
    from capsbench.reporting.exports.claims_export import ExportedClaims
    from capsbench.reporting.exports.export import ExportedResults
    from capsbench.reporting.exports.search_checks import ExportedSearch

    return (
        [each for each in exported if isinstance(each, ExportedResults)],
        [each for each in exported if isinstance(each, ExportedClaims)],
        [each for each in exported if isinstance(each, ExportedSearch)],
    )


def _row(
    path: Path, exported: Exported | None = None, *, problem: str | None = None
) -> dict[str, Any]:
    """Return the facts of a file for JSON; only the problem, if it is not valid."""
    from capsbench.reporting.exports.revisions import earlier_revisions

    return {
        "file": path,
        "benchmark": exported and exported.name,
        "version": exported and exported.version,
        "size": exported and exported.size,
        "cells": exported and len(exported.cells),
        "failed": exported and len(exported.failed),
        "valid": problem is None,
        "problem": problem,
        "earlier_revisions": earlier_revisions(exported.cells) if exported else [],
    }


def _require_checkout() -> None:
    """Refuse to write the pages anywhere but in the checkout that this package comes from.

    Raises:
        UserError: The package is installed without a checkout, or the working directory is another.
    """
    import capsbench

    root = Path(capsbench.__file__).resolve().parents[1]
    if not (root / "pyproject.toml").is_file():
        raise UserError(
            f"--write writes {PAGES} of a checkout, but this capsbench is installed without one: "
            "use the capsbench of a clone"
        )
    if Path.cwd().resolve() != root:
        raise UserError(
            f"--write writes {PAGES} of the checkout {root}, but the working directory is "
            f"{Path.cwd()}: change to the checkout"
        )


def _checked(path: Path) -> Exported:
    """Read and check a record of a benchmark, of claims or of a search."""
    from capsbench.reporting.exports.export import ExportedResults, with_shipped_texts
    from capsbench.reporting.exports.exported import check_exported, load_exported

    exported = load_exported(path)
    check_exported(exported)
    return with_shipped_texts(exported) if isinstance(exported, ExportedResults) else exported
