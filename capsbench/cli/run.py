"""``capsbench run``: carry out a benchmark, or say what it would do."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from capsbench.cli.options import (
    AsJson,
    DataRoot,
    Output,
    complete_benchmark,
    complete_models,
    plain_console,
    print_json,
    require_folder,
    require_writable,
)
from capsbench.errors import UserError

if TYPE_CHECKING:
    from capsbench.running.plan import Cell
    from capsbench.training.execution import Execution

MOST_SEEDS = 1000
STOPPED = "stopped; the same command goes on from where it stopped"


def run(
    benchmark: Annotated[
        str,
        typer.Argument(
            metavar="BENCHMARK",
            help="A name from `capsbench list benchmarks`, or a YAML file.",
            autocompletion=complete_benchmark,
        ),
    ],
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Only these of its models.", autocompletion=complete_models
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="0,1 or 0-4", help="Seeds in place of the file's.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PLACE=VALUE",
            help="Change a value of the file, such as recipe.steps=500; may be repeated.",
        ),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One of the file's scales, such as small."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Use at most this many images of each split."),
    ] = None,
    data_root: DataRoot = None,
    output: Output = Path("runs"),
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to train.")
    ] = "auto",
    devices: Annotated[
        int, typer.Option(min=1, metavar="N", help="Processes per node, a device each.")
    ] = 1,
    nodes: Annotated[int, typer.Option(min=1, metavar="N", help="Machines.")] = 1,
    strategy: Annotated[
        Literal["auto", "ddp", "ddp_find_unused_parameters_true"],
        typer.Option(help="How several processes train together."),
    ] = "auto",
    routing: Annotated[
        Literal["auto", "textbook", "eager", "compiled", "native", "triton"],
        typer.Option(help="In which form routing is computed; results are the same."),
    ] = "auto",
    checkpoint_every: Annotated[
        int | None,
        typer.Option(min=1, metavar="STEPS", help="Steps between resumable states."),
    ] = None,
    wandb: Annotated[
        Literal["off", "offline", "online"], typer.Option(help="Mirror to Weights & Biases.")
    ] = "offline",
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Trace some steps of each training, in its folder."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the cells and their state; write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train, measure, and build the page of a benchmark.

    What is trained or measured already is not done again; after an interruption the same command
    goes on from where it stopped.
    """
    if as_json and not dry_run:
        raise UserError("--json lists the cells; it goes with --dry-run")
    from capsbench.schema import load_benchmark, parse_changes
    from capsbench.training.execution import Execution

    changes = parse_changes(settings or [])
    if seeds is not None:
        changes["seeds"] = parse_seeds(seeds)
    if limit is not None:
        changes["recipe.limit"] = limit
    protocol = load_benchmark(benchmark, changes, scale=scale)
    scaled = {} if scale is None else protocol.scales[scale]
    chosen = None if models is None else [part.strip() for part in models.split(",")]
    require_folder(data_root)
    require_writable(output)
    execution = Execution(
        device=device,
        devices=devices,
        nodes=nodes,
        strategy=strategy,
        routing=routing,
        checkpoint_every=checkpoint_every,
        profile=profile,
        wandb=wandb,
    )
    try:
        from rich.console import Console

        from capsbench.running.plan import plan
        from capsbench.running.run import run_benchmark

        require_devices(execution)
        cells = plan(protocol, models=chosen, data_root=data_root)
        if dry_run:
            _list_cells(output, cells, as_json)
            return
        run_benchmark(
            protocol,
            cells=cells,
            output=output,
            execution=execution,
            data_root=data_root,
            changes=_in_words(scaled | changes, chosen, scale),
            command=shlex.join(["capsbench", *sys.argv[1:]]),
            console=Console(),
        )
    except (KeyboardInterrupt, SystemExit) as stop:
        # Lightning's Trainer turns Ctrl-C into an exit of its own, from within the interrupt.
        if not any(isinstance(cause, KeyboardInterrupt) for cause in (stop, stop.__context__)):
            raise
        typer.echo(STOPPED, err=True)
        raise typer.Exit(130) from None


def parse_seeds(text: str) -> list[int]:
    """Read seeds such as ``0,1`` or ``0-4``.

    >>> parse_seeds("0-2,7")
    [0, 1, 2, 7]
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first:
            raise UserError(f"--seeds takes whole numbers such as 0,1 or 0-4; got '{text}'")
        if len(seeds) + last - first >= MOST_SEEDS:
            raise UserError(f"--seeds takes at most {MOST_SEEDS} seeds; got '{text}'")
        seeds.extend(range(first, last + 1))
    return seeds


def require_devices(execution: Execution) -> None:
    """Refuse devices that this machine lacks."""
    import torch

    from capsbench.training.devices import resolve_device

    present = torch.cuda.device_count()
    if resolve_device(execution.device) == "cuda" and execution.devices > present:
        raise UserError(f"--devices {execution.devices}: there are {present} CUDA devices here")


def _in_words(
    changes: dict[str, Any], models: Sequence[str] | None, scale: str | None
) -> list[str]:
    words = [] if scale is None else [f"scale={scale}"]
    words += [
        f"{place}={value if isinstance(value, str) else json.dumps(value, default=str)}"
        for place, value in changes.items()
    ]
    return words if models is None else [*words, f"models={','.join(models)}"]


def _list_cells(output: Path, cells: Sequence[Cell], as_json: bool) -> None:
    from capsbench.running.run import cell_state

    rows = [
        {
            "label": cell.label,
            "model": cell.model,
            "seed": cell.seed,
            "folder": str(output / cell.path),
            "state": cell_state(output, cell),
        }
        for cell in cells
    ]
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    table = Table("label", "model", "seed", box=None, pad_edge=False)
    table.add_column("folder", overflow="fold")
    table.add_column("state")
    for row in rows:
        table.add_row(*map(str, row.values()))
    plain_console().print(table)
