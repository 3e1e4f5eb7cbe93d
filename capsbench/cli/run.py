"""``capsbench run``: carry out a benchmark or claims, or list what is left to do."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from capsbench.cli.dry_run import print_dry_run
from capsbench.cli.options import (
    AsJson,
    DataRoot,
    Output,
    complete_benchmark,
    complete_models,
    require_folder,
    require_writable,
)
from capsbench.errors import UserError

if TYPE_CHECKING:
    from capsbench.records import ProtocolChanges
    from capsbench.running.cell import Cell
    from capsbench.running.session import Session
    from capsbench.schema import Benchmark
    from capsbench.training.execution import Execution

MAX_SEEDS = 1000
STOPPED = "stopped; the same command continues where it stopped"


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
            help="First train with every recipe of the file's grid; each model keeps its best.",
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
        Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Training device.")
    ] = "auto",
    devices: Annotated[
        int, typer.Option(min=1, metavar="N", help="Processes per node, one device each.")
    ] = 1,
    nodes: Annotated[int, typer.Option(min=1, metavar="N", help="Machines.")] = 1,
    strategy: Annotated[
        Literal["auto", "ddp", "ddp_find_unused_parameters_true"],
        typer.Option(help="Lightning strategy for several processes."),
    ] = "auto",
    backend: Annotated[
        Literal["auto", "textbook", "eager", "compiled", "native", "triton"],
        typer.Option(help="Routing implementation; results are the same."),
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

    Finished trainings and measures are not repeated. After an interruption, the same command
    continues where it stopped.
    """
    if as_json and not dry_run:
        raise UserError("--json lists the cells of a --dry-run; add --dry-run")
    require_folder(data_root)
    require_writable(output)
    seed_list = None if seeds is None else parse_seeds(seeds)
    selected = None if models is None else tuple(part.strip() for part in models.split(","))
    with _exit_on_interrupt():  # from the imports on, which take seconds
        from rich.console import Console

        from capsbench.records import ProtocolChanges
        from capsbench.schema import is_claims, parse_changes
        from capsbench.training.execution import Execution

        values = parse_changes(settings or [])
        if seed_list is not None:
            values["seeds"] = seed_list
        if limit is not None:
            values["recipe.limit"] = limit
        changes = ProtocolChanges(scale=scale, settings=values, models=selected, search=search)
        execution = Execution(
            device=device,
            devices=devices,
            nodes=nodes,
            strategy=strategy,
            backend=backend,
            checkpoint_every=checkpoint_every,
            profile=profile,
            wandb=wandb,
        )
        if (claims := is_claims(benchmark)) and (values or selected or search):
            raise UserError(
                "claims run as they are, or at a --scale; --models, --seeds, --set, --limit "
                "and --search are for benchmarks"
            )
        from capsbench.running.session import Session

        session = Session(output, data_root, execution, Console())
        require_devices(execution)
        if claims:
            _run_claims(benchmark, session, scale, dry_run, as_json)
        else:
            _run_benchmark(benchmark, session, changes, dry_run, as_json)


def _run_benchmark(
    name: str, session: Session, changes: ProtocolChanges, dry_run: bool, as_json: bool
) -> None:
    from capsbench.running.benchmark import run_benchmark
    from capsbench.running.plan import plan
    from capsbench.running.search import search as search_recipes
    from capsbench.schema import load_benchmark

    protocol = load_benchmark(name, changes.settings, scale=changes.scale)
    cells = _planned_cells(protocol, session, changes)
    if dry_run:
        print_dry_run(cells, session, protocol.expected, as_json)
        return
    session = session.ready()
    search = None
    if changes.search:
        protocol, search = search_recipes(protocol, session, models=changes.models)
        cells = plan(protocol, models=changes.models, data_root=session.data_root)
    run_benchmark(
        protocol,
        cells,
        session,
        changes=changes,
        command=_command(),
        search=search,
    )


def _run_claims(
    name: str, session: Session, scale: str | None, dry_run: bool, as_json: bool
) -> None:
    from capsbench.running.claims import plan_claims, run_claims
    from capsbench.schema import load_claims

    claims = load_claims(name, scale)
    if dry_run:
        parts = plan_claims(claims, scale, session.data_root).values()
        cells = [cell for part in parts for cell in part]
        print_dry_run(cells, session, claims.expected, as_json)
        return
    run_claims(claims, scale, session.ready(), command=_command())


def _planned_cells(protocol: Benchmark, session: Session, changes: ProtocolChanges) -> list[Cell]:
    """Return all cells; trials of a search come first, and the best one is the cell of its seed."""
    from capsbench.running.plan import plan
    from capsbench.running.search import plan_trials

    cells = plan(protocol, models=changes.models, data_root=session.data_root)
    if not changes.search:
        return cells
    trials = plan_trials(protocol, changes.models, session.data_root)
    tried = [cell for _, cells_of_model in trials for cell in cells_of_model]
    return [*tried, *(cell for cell in cells if cell.seed != protocol.seeds[0])]


@contextmanager
def _exit_on_interrupt() -> Iterator[None]:
    """Turn Ctrl-C into a line and an exit code."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        # Lightning's Trainer turns Ctrl-C into its own exit, from within the interrupt.
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
        if len(seeds) + last - first >= MAX_SEEDS:
            raise UserError(f"--seeds takes at most {MAX_SEEDS} seeds; got '{text}'")
        seeds.extend(range(first, last + 1))
    return seeds


def require_devices(execution: Execution) -> None:
    """Refuse more devices than this machine has."""
    import torch

    from capsbench.training.devices import resolve_device

    present = torch.cuda.device_count()
    if resolve_device(execution.device) == "cuda" and execution.devices > present:
        raise UserError(f"--devices {execution.devices}: this machine has {present} CUDA devices")
