"""``capsbench bench``: how fast this is here, side by side with the textbook form."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from capsbench.cli.options import (
    AsJson,
    json_on_stdout,
    plain_console,
    print_json,
    require_writable,
)
from capsbench.errors import unknown
from capsbench.speed.groups import GROUPS

if TYPE_CHECKING:
    from capsbench.speed.rows import Result

SCHEMA = 1  # of bench.json


def complete_group(incomplete: str) -> list[str]:
    """The groups whose names begin so, for the shell."""
    return [group for group in GROUPS if group.startswith(incomplete)]


def bench(
    groups: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="GROUP",
            help=f"Of {', '.join(GROUPS)}; all if left out.",
            autocompletion=complete_group,
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of bench.json and bench.svg.")
    ] = Path("runs/bench"),
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="What to measure.")
    ] = "auto",
    repeats: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Rounds of each comparison; by time if left out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure speed, side by side with the textbook form.

    The rows of a comparison are timed in turn, in rounds; ratios are taken round by round. Nothing
    else should run meanwhile. Takes some minutes.
    """
    chosen = list(dict.fromkeys(groups or GROUPS))
    for group in chosen:
        if group not in GROUPS:
            raise unknown("group", group, GROUPS)
    require_writable(output)
    try:
        with json_on_stdout(as_json):
            machine, results = _measure(chosen, device, repeats, quiet=as_json)
    except KeyboardInterrupt:
        typer.echo("stopped; nothing was written", err=True)
        raise typer.Exit(130) from None
    content = {"schema": SCHEMA, "machine": machine, "rows": [result.facts() for result in results]}
    _write(output, content, results)
    if as_json:
        print_json(content)
    else:
        plain_console().print(f"written: {output / 'bench.json'}, {output / 'bench.svg'}")


def _measure(
    groups: Sequence[str], device: str, repeats: int | None, *, quiet: bool
) -> tuple[dict[str, Any], list[Result]]:
    """Carry out groups and, unless quiet, show each comparison as soon as it is done."""
    # Before torch is there: its profiler, which counts memory, announces itself on stderr.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from capsbench.speed.bench import carry_out, comparisons_of, needs_limits
    from capsbench.speed.limits import measure_limits
    from capsbench.speed.machine import bench_device, describe, precisions
    from capsbench.speed.table import LEGEND, comparison_table, machine_table, reasons

    console, place = plain_console(), bench_device(device)
    planned = [(group, one) for group in groups for one in comparisons_of(group, place)]
    counted = needs_limits(comparison for _, comparison in planned)
    limits = measure_limits(place, precisions(place)) if counted else None
    machine, results = describe(place, limits), []
    if not quiet:
        console.print(machine_table(machine), LEGEND, sep="\n")
    for group, comparison in planned:
        if not quiet:  # the name first; a bar that moves would disturb what is measured
            console.print(f"\n{group}: {comparison.name}", style="bold")
        found = carry_out(group, comparison, device=place, limits=limits, rounds=repeats)
        results += found
        if not quiet:
            console.print(comparison_table(found), *reasons(found), sep="\n")
    return machine, results


def _write(output: Path, content: dict[str, Any], results: Sequence[Result]) -> None:
    from capsbench.files.atomic import write_bytes, write_json
    from capsbench.reporting.plotting import svg
    from capsbench.speed.figure import ratios_figure

    write_json(output / "bench.json", content)
    write_bytes(output / "bench.svg", svg(ratios_figure(results)))
