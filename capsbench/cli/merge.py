"""``capsbench merge``: join the runs folders of several machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capsbench.cli.options import (
    AsJson,
    TrustCode,
    json_on_stdout,
    plain_console,
    print_json,
)
from capsbench.environment.entry import refuse
from capsbench.environment.streams import print_line
from capsbench.files.folders import require_writable
from capsbench.trusted_code import trusting_code

if TYPE_CHECKING:
    from capsbench.running.merging.merge import MergePlan

MAX_LISTED = 3  # cells of a decision


def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders of runs, such as runs.")
    ],
    into: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Folder that gets all records; it may be one of the others."
        ),
    ],
    trust_code: TrustCode = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be copied; write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Join the runs folders of several machines, and build the pages.

    Trainings, measures, models that were trained elsewhere, and the records of benchmarks and
    claims are copied and verified; seeds and models of one benchmark are united. Nothing is
    overwritten: if two folders have different results under one name, all conflicts are listed,
    nothing is written, and the exit code is 2. A finished training wins over an unfinished one.
    After an interruption, the same command continues.
    """
    require_writable(into)
    with json_on_stdout(as_json), trusting_code(trust_code):
        from rich.console import Console

        from capsbench.progress import progress_bar
        from capsbench.reporting.rebuild import rebuild
        from capsbench.running.merging.merge import carry_out, plan_merge

        plan, pages = plan_merge(folders, into), list[Path]()
        if not plan.problems and not dry_run:
            with progress_bar(Console(stderr=True)) as progress:
                bar = progress.add_task("copying", total=plan.num_files, note="")
                carry_out(plan, lambda: progress.advance(bar))
            if names := [each.name for each in plan.records]:
                pages = [rebuilt.page for rebuilt in rebuild(into, names, None)]
    if as_json:
        print_json(_content(plan, pages))
    elif not plan.problems:
        _print(plan, pages, dry_run=dry_run)
    for problem in plan.problems:
        refuse(problem)
    if plan.problems:
        raise typer.Exit(2)


def _content(plan: MergePlan, pages: list[Path]) -> dict[str, Any]:
    return {
        "into": plan.into,
        "cells": [
            {
                "path": cell.path,
                "bytes": cell.bytes,
                "files": [{"from": piece.source, "path": piece.path} for piece in cell.pieces],
                "notes": list(cell.notes),
            }
            for cell in plan.cells
        ],
        "records": [{"name": each.name, "written": each in plan.written} for each in plan.records],
        "problems": list(plan.problems),
        "pages": pages,
    }


def _print(plan: MergePlan, pages: list[Path], *, dry_run: bool) -> None:
    from capsbench.reporting.formatting import counted, listed, size
    from capsbench.reporting.terminal import page_line

    if dry_run:
        for cell in plan.copied:
            print_line(f"{cell.path}: {counted(len(cell.pieces), 'file')}, {size(cell.bytes)}")
    for note, paths in plan.notes.items():
        more = f", and {len(paths) - MAX_LISTED} more" if len(paths) > MAX_LISTED else ""
        print_line(f"{', '.join(paths[:MAX_LISTED])}{more}: {note}")
    total = size(sum(cell.bytes for cell in plan.copied))
    names = listed([each.name for each in plan.written])
    copied = f"{counted(len(plan.copied), 'cell')}, {total}" if plan.copied else "nothing new"
    united = f"; {'to be united' if dry_run else 'united'}: {names}" if names else ""
    print_line(f"{'to be copied' if dry_run else 'copied'} to {plan.into}: {copied}{united}")
    console = plain_console()
    for page in pages:
        console.print(page_line(page), soft_wrap=True)
