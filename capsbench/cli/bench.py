"""``capsbench bench``: speed on this machine, relative to the textbook backend."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from capsbench.cli.options import (
    AsJson,
    json_on_stdout,
    plain_console,
    print_json,
)
from capsbench.errors import unknown
from capsbench.files.folders import require_writable
from capsbench.speed.groups import GROUPS, ON_REQUEST

if TYPE_CHECKING:
    from capsbench.speed.record import SpeedRecord


def complete_group(incomplete: str) -> list[str]:
    """Complete the name of a group in the shell."""
    return [group for group in GROUPS if group.startswith(incomplete)]


def bench(
    groups: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="GROUP",
            help=f"Groups to measure, of {', '.join(GROUPS)}; if left out, all but "
            f"{', '.join(ON_REQUEST)}.",
            autocompletion=complete_group,
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of bench.json and bench.svg.")
    ] = Path("runs/bench"),
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Device to measure.")
    ] = "auto",
    repeats: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Rounds of each comparison; if left out, by a time budget."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure speed relative to the textbook backend.

    The rows of a comparison are timed alternately, in rounds, and ratios are computed round by
    round. Run nothing else at the same time. The measurement takes some minutes; that of
    executors, which is made if it is named, about ten more.
    """
    selected = list(dict.fromkeys(groups or (name for name in GROUPS if name not in ON_REQUEST)))
    for group in selected:
        if group not in GROUPS:
            raise unknown("group", group, GROUPS)
    require_writable(output)
    with json_on_stdout(as_json):
        record = _measure(selected, device, repeats, quiet=as_json)
    _write(output, record)
    if as_json:
        print_json(record.model_dump(mode="json"))
    else:
        plain_console().print(f"written: {output / 'bench.json'}, {output / 'bench.svg'}")


def _measure(
    groups: Sequence[str], device: str, repeats: int | None, *, quiet: bool
) -> SpeedRecord:
    """Measure groups and, unless quiet, print each comparison as soon as it is complete."""
    # Before torch is imported: its profiler, which measures memory, prints messages on stderr.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from capsbench.speed.bench import comparisons_of, measure_comparison, needs_limits
    from capsbench.speed.limits import measure_limits
    from capsbench.speed.machine import bench_device, describe_machine, native_precisions
    from capsbench.speed.record import SpeedRecord
    from capsbench.speed.table import LEGEND, comparison_table, machine_table, unmeasured_lines

    console, device = plain_console(), bench_device(device)
    comparisons = [(group, one) for group in groups for one in comparisons_of(group, device)]
    with_limits = needs_limits(comparison for _, comparison in comparisons)
    limits = measure_limits(device, native_precisions(device)) if with_limits else None
    machine, rows = describe_machine(device, limits), []
    if not quiet:
        console.print(machine_table(machine), LEGEND, sep="\n")
    for group, comparison in comparisons:
        if not quiet:  # the name first; a progress bar would disturb the measurement
            console.print(f"\n{group}: {comparison.name}", style="bold")
        results = measure_comparison(
            group, comparison, device=device, limits=limits, rounds=repeats
        )
        rows += results
        if not quiet:
            console.print(comparison_table(results), *unmeasured_lines(results), sep="\n")
    return SpeedRecord(machine=machine, rows=tuple(rows))


def _write(output: Path, record: SpeedRecord) -> None:
    from capsbench.files.atomic import write_bytes
    from capsbench.reporting.figures.plotting import svg
    from capsbench.speed.figure import ratios_figure

    record.save(output / "bench.json")
    write_bytes(output / "bench.svg", svg(ratios_figure(record.rows)))
