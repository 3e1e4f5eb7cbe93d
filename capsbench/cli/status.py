"""``capsbench status``: the cells of a runs folder that are done, running, failed or waiting."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from capsbench.cli.options import AsJson, plain_console, print_json
from capsbench.errors import UserError

SECONDS = 1.0  # between two looks at the files


def status(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="The runs folder.")] = Path("runs"),
    watch: Annotated[
        bool, typer.Option("--watch", help="Repeat every second, until nothing is left to do.")
    ] = False,
    as_json: AsJson = False,
    svg: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also save what is shown as an image (SVG)."),
    ] = None,
) -> None:
    """Show which cells are done, running, failed, diverged or waiting.

    Files alone are read, so that it works from any terminal and machine that sees the folder, also
    while others run. A running cell is listed with its host and device, its step, and the time
    left; a failed one with the reason, its log and the command that tries it again.
    """
    if sum((watch, as_json, svg is not None)) > 1:
        raise UserError("expected one of --watch, --json and --svg; call it once for each")
    from capsbench.records.status import read_status

    if as_json:
        from capsbench.records.status_json import as_plain

        print_json(as_plain(read_status(runs)))
    elif watch:
        _watch(runs)
    else:
        from capsbench.reporting.status_tables import status_tables

        shown = status_tables(read_status(runs))
        plain_console().print(shown)
        if svg is not None:
            from capsbench.files.atomic import write_bytes
            from capsbench.reporting.terminal import as_svg

            write_bytes(svg, as_svg(shown, title="capsbench status").encode())


def _watch(runs: Path) -> None:
    """Show the state until no cell is running or waiting; in a log file, each change of totals."""
    from rich.live import Live

    from capsbench.records.status import read_status
    from capsbench.reporting.status_tables import status_tables, totals

    console = plain_console()
    state = read_status(runs)
    if console.is_terminal:
        with Live(status_tables(state), console=console, auto_refresh=False) as live:
            while not state.is_finished:
                time.sleep(SECONDS)
                state = read_status(runs)
                live.update(status_tables(state), refresh=True)
        return
    shown = None
    while True:
        if (line := totals(state)) != shown:
            console.print(line, soft_wrap=True)
            shown = line
        if state.is_finished:
            return
        time.sleep(SECONDS)
        state = read_status(runs)
