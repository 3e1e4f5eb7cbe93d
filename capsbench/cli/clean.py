"""``capsbench clean``: list what can be removed from a runs folder and the caches; remove it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capsbench.cli.options import AsJson, plain_console, print_json
from capsbench.environment.streams import print_line
from capsbench.errors import UserError

if TYPE_CHECKING:
    from capsbench.records.cleaning import Removable

RUNS = Path("runs")


def clean(
    runs: Annotated[
        Path | None, typer.Argument(metavar="RUNS", help="The runs folder.", show_default="runs")
    ] = None,
    leftovers: Annotated[
        bool, typer.Option("--leftovers", help="Unfinished files of killed processes.")
    ] = False,
    states: Annotated[
        bool, typer.Option("--states", help="States of unfinished trainings, which begin anew.")
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Cells whose training failed.")] = False,
    unlisted: Annotated[
        bool, typer.Option("--unlisted", help="Cells that no benchmark's record lists.")
    ] = False,
    profiles: Annotated[
        bool, typer.Option("--profiles", help="Profiles of finished trainings.")
    ] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Logs of finished cells.")] = False,
    synced: Annotated[
        bool, typer.Option("--synced", help="Runs of Weights & Biases that have been sent.")
    ] = False,
    caches: Annotated[
        bool, typer.Option("--caches", help="Compiled code and rendered data sets.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without a question.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what can be removed, with sizes; remove the kinds that are named.

    Without a kind, all kinds are listed and nothing is removed. With kinds, their files are listed
    and removed after a question in a terminal, or with --yes. What a live process holds, links, and
    files that no run has written stay.
    """
    from capsbench.records.cleaning import KINDS, removable

    given = (leftovers, states, failed, unlisted, profiles, logs, synced, caches)
    kinds = [kind for kind, chosen in zip(KINDS, given, strict=True) if chosen]
    if yes and not kinds:
        raise UserError("--yes removes what is named: add kinds, such as --leftovers --states")
    if runs is not None and not runs.is_dir():
        raise UserError(f"{runs} is not a folder; name the folder of the records, such as runs")
    folder = runs or (RUNS if RUNS.is_dir() else None)
    entries = [each for each in removable(folder) if not kinds or each.kind in kinds]
    if not as_json:
        _print(entries, kinds, folder)
    chosen = entries if kinds and yes else []
    if kinds and not yes and not as_json and _is_confirmed(entries):
        unchanged = set(removable(folder))  # the answer may have taken long
        chosen = [each for each in entries if each in unchanged]
    removed = _remove(chosen, folder, quiet=as_json)
    if as_json:
        print_json([_row(each, removed=each in removed) for each in entries])
    elif kinds and entries and not chosen:
        print_line("nothing was removed; --yes removes it")


def _print(entries: Sequence[Removable], kinds: Sequence[str], runs: Path | None) -> None:
    """Print a line for each entry of the named kinds, or a table of all kinds."""
    from rich.table import Table

    from capsbench.records.cleaning import KINDS, MEANING
    from capsbench.reporting.formatting import size

    if kinds:
        for each in entries:
            print_line(f"{each.kind}: {each.place}, {size(each.bytes)}")
        if not entries:
            print_line("nothing to remove")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("kind", no_wrap=True)
    table.add_column("entries", justify="right")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("files")
    for kind in KINDS:
        of_kind = [each for each in entries if each.kind == kind]
        total = size(sum(each.bytes for each in of_kind)) if of_kind else "-"
        table.add_row(kind, str(len(of_kind)), total, MEANING[kind])
    plain_console().print(table)
    place = "" if runs in (None, RUNS) else f" {runs}"
    print_line(f"'capsbench clean{place} --leftovers' lists one kind and removes it; --json: all")


def _is_confirmed(entries: Sequence[Removable]) -> bool:
    """Ask in a terminal; elsewhere nobody answers."""
    if not entries or not sys.stdin.isatty():
        return False
    return typer.confirm(f"Remove these {len(entries)}?")


def _remove(chosen: Sequence[Removable], runs: Path | None, *, quiet: bool) -> list[Removable]:
    """Remove entries; return those that no live process has taken meanwhile."""
    from capsbench.records.cleaning import clean as remove
    from capsbench.reporting.formatting import size

    removed = [each for each in chosen if remove(each, runs)]
    if chosen and not quiet:
        for each in chosen:
            if each not in removed:
                print_line(f"{each.place} stays: a process is using it")
        total = sum(each.bytes for each in removed)
        print_line(f"removed {len(removed)} of {len(chosen)}, {size(total)}")
    return removed


def _row(entry: Removable, *, removed: bool) -> dict[str, object]:
    return {
        "kind": entry.kind,
        "place": entry.place,
        "bytes": entry.bytes,
        "files": entry.files,
        "removed": removed,
    }
