"""``capsbench run``: carry out a benchmark, or say what it would do."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    from capsbench.schema import Benchmark
    from capsbench.training.execution import Execution

MOST_SEEDS = 1000
TO_TRAIN = ("to do", "resumable")
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
    search: Annotated[
        bool,
        typer.Option(
            "--search",
            help="First try every recipe of the file's grid on every model; each keeps its best.",
        ),
    ] = False,
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
        bool,
        typer.Option(
            "--dry-run", help="List the cells, their state, time, memory and disk; write nothing."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train, measure, and build the page of a benchmark.

    What is trained or measured already is not done again; after an interruption the same command
    goes on from where it stopped.
    """
    if as_json and not dry_run:
        raise UserError("--json lists the cells; it goes with --dry-run")
    from capsbench.schema import is_claims, load_benchmark, load_claims, parse_changes
    from capsbench.training.execution import Execution

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
    if is_claims(benchmark):
        if models or seeds or settings or limit or search:
            raise UserError(
                "claims are run as they stand, or at a --scale; --models, --seeds, --set, --limit "
                "and --search are for benchmarks"
            )
        with _told_when_stopped():
            from rich.console import Console

            from capsbench.running.run_claims import planned, run_claims

            require_devices(execution)
            claims = load_claims(benchmark, scale)
            if dry_run:
                parts = planned(claims, scale, data_root).values()
                _list_cells(output, [cell for part in parts for cell in part], execution, as_json)
                if not as_json:
                    typer.echo(f"the file expects, with measures: {claims.expected}")
                return
            run_claims(
                claims,
                scale=scale,
                output=output,
                execution=execution,
                data_root=data_root,
                command=_command(),
                console=Console(),
            )
        return
    changes = parse_changes(settings or [])
    if seeds is not None:
        changes["seeds"] = parse_seeds(seeds)
    if limit is not None:
        changes["recipe.limit"] = limit
    protocol = load_benchmark(benchmark, changes, scale=scale)
    scaled = {} if scale is None else protocol.scales[scale]
    chosen = None if models is None else [part.strip() for part in models.split(",")]
    with _told_when_stopped():
        from rich.console import Console

        from capsbench.running.plan import plan
        from capsbench.running.run import run_benchmark

        require_devices(execution)
        if dry_run:
            _list_cells(output, _planned(protocol, chosen, data_root, search), execution, as_json)
            if not as_json:
                typer.echo(f"the file expects, with measures: {protocol.expected}")
            return
        console, found = Console(), None
        if search:
            from capsbench.running.search import search as search_recipes

            protocol, found = search_recipes(
                protocol,
                models=chosen,
                output=output,
                execution=execution,
                data_root=data_root,
                console=console,
            )
        cells = plan(protocol, models=chosen, data_root=data_root)
        run_benchmark(
            protocol,
            cells=cells,
            output=output,
            execution=execution,
            data_root=data_root,
            changes=[*_in_words(scaled | changes, chosen, scale), *(["search"] if search else [])],
            command=_command(),
            console=console,
            search=found,
        )


def _planned(
    protocol: Benchmark, models: Sequence[str] | None, data_root: Path | None, search: bool
) -> list[Cell]:
    """All cells; after a search, whose trials come first, a best one is the cell of its seed."""
    from capsbench.running.plan import plan

    cells = plan(protocol, models=models, data_root=data_root)
    if not search:
        return cells
    from capsbench.running.search import planned_trials

    found = planned_trials(protocol, models, data_root)
    trials = [cell for _, tried in found for cell in tried]
    return [*trials, *(cell for cell in cells if cell.seed != protocol.seeds[0])]


@contextmanager
def _told_when_stopped() -> Iterator[None]:
    """Turn Ctrl-C into a line and an exit code."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        # Lightning's Trainer turns Ctrl-C into an exit of its own, from within the interrupt.
        if not any(isinstance(cause, KeyboardInterrupt) for cause in (stop, stop.__context__)):
            raise
        typer.echo(STOPPED, err=True)
        raise typer.Exit(130) from None


def _command() -> str:
    return shlex.join(["capsbench", *sys.argv[1:]])


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
    return words if models is None else [*words, f"only={','.join(models)}"]


def _list_cells(output: Path, cells: Sequence[Cell], execution: Execution, as_json: bool) -> None:
    from capsbench.running.estimate import estimates
    from capsbench.running.run import cell_state
    from capsbench.training.devices import device_name, resolve_device

    states = [cell_state(output, cell) for cell in cells]
    device = resolve_device(execution.device)
    todo = [cell for cell, state in zip(cells, states, strict=True) if state in TO_TRAIN]
    found = dict(
        zip([cell.path for cell in todo], estimates(todo, device, execution.routing), strict=True)
    )
    rows = []
    for cell, state in zip(cells, states, strict=True):
        estimate = found.get(cell.path)
        rows.append(
            {
                "label": cell.title,
                "model": cell.model,
                "seed": cell.seed,
                "folder": str(output / cell.path),
                "state": state,
                "training_seconds": estimate and estimate.seconds,
                "vote_bytes": estimate and estimate.vote_bytes,
                "disk_bytes": estimate and estimate.disk_bytes,
                "state_bytes": estimate and estimate.state_bytes,
            }
        )
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    from capsbench.reporting.wording import counted, duration, size

    table = Table("label", "model", "seed", box=None, pad_edge=False)
    table.add_column("folder", overflow="fold")
    for name in ("state", "training", "votes", "disk"):
        table.add_column(name)
    for row in rows:
        estimate = found.get(cells[len(table.rows)].path)
        told = (
            (duration(estimate.seconds), size(estimate.vote_bytes), size(estimate.disk_bytes))
            if estimate
            else ("", "", "")
        )
        table.add_row(*(str(row[name]) for name in list(row)[:5]), *told)
    console = plain_console()
    console.print(table)
    if found:
        every = list(found.values())
        console.print(
            f"{counted(len(every), 'training')} to do, about "
            f"{duration(sum(each.seconds for each in every))} of steps on "
            f"{device_name(device)} (from a few timed steps; looks and measures come on top); "
            f"{size(sum(each.disk_bytes for each in every))} of checkpoints, and at most "
            f"{size(max(each.state_bytes for each in every))} to resume from",
            soft_wrap=True,
        )
