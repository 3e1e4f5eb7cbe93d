"""``capsbench run``: carry out a benchmark or claims, or list what is left to do."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from capsbench.cli.dry_run import print_dry_run
from capsbench.cli.options import (
    DataRoot,
    Output,
    TrustCode,
    complete_benchmark,
    complete_models,
)
from capsbench.environment.process_group import is_first_process, require_processes
from capsbench.environment.streams import print_line
from capsbench.errors import UserError, printable
from capsbench.files.folders import require_folder, require_writable
from capsbench.running.worker_command import worker_template
from capsbench.trusted_code import trusting_code

MAX_SEEDS = 1000
SOME_FAILED = 1  # exit code


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
        list[str] | None,
        typer.Option(
            metavar="A,B,+C",
            help="Only A and B of its models; with + a model beside its own, such as "
            "+net.py:Net, +cnn-p4 or '+{name: net.py:Net, label: Mine}'; may be repeated.",
            autocompletion=complete_models,
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
            help="First tune every model by equal trials: learning rate, weight decay, knobs.",
        ),
    ] = False,
    scale: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One of the file's scales, such as cpu."),
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
    executor: Annotated[
        Literal["local", "ray", "slurm"],
        typer.Option(help="Engine of the jobs: this machine, a Ray cluster, or SLURM."),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Jobs at a time; 0: one after the other in this process, without bars, so that a "
            "debugger can stop in them.",
            show_default="as many as fit",
        ),
    ] = None,
    per_device: Annotated[
        int, typer.Option(min=1, metavar="N", help="Jobs that share an accelerator.")
    ] = 1,
    retries: Annotated[
        int, typer.Option(min=0, metavar="N", help="Repetitions of a job whose process died.")
    ] = 2,
    retry: Annotated[
        Literal["failed"] | None,
        typer.Option(help="Also try failed cells again."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Ray: address of a cluster, or auto."),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,...",
            help="SLURM: options such as partition=gpu,time=120; may be repeated.",
        ),
    ] = None,
    devices: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Devices of each training per node, a process on each."
        ),
    ] = 1,
    nodes: Annotated[int, typer.Option(min=1, metavar="N", help="Machines of each training.")] = 1,
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
    wandb_project: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its project; else that of WANDB_PROJECT, or capsbench."),
    ] = None,
    wandb_entity: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its user or team; else that of the login."),
    ] = None,
    wandb_tags: Annotated[
        str | None, typer.Option(metavar="A,B", help="Tags of all its runs.")
    ] = None,
    wandb_artifacts: Annotated[
        bool, typer.Option("--wandb-artifacts", help="Also send weights and records.")
    ] = False,
    logger: Annotated[
        list[str] | None,
        typer.Option(
            metavar="tensorboard|csv",
            help="Also write the curves of trainings as such files; may be repeated.",
        ),
    ] = None,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Trace some steps of each training, in its folder."),
    ] = False,
    trust_code: TrustCode = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="List the cells, their state, time, memory and disk; write nothing."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the list of a --dry-run as JSON.")
    ] = False,
) -> None:
    """Train, measure, and build the page of a benchmark.

    Finished trainings and measures are not repeated. After an interruption, the same command
    continues where it stopped. The exit code is 1 if some cells failed, 2 after bad input or a
    failure of the environment, and 128 plus its number after a signal.
    """
    if as_json and not dry_run:
        raise UserError("--json lists the cells of a --dry-run; add --dry-run")
    require_folder(data_root)
    require_writable(output)
    require_processes(devices, nodes)
    seed_list = None if seeds is None else parse_seeds(seeds)
    if is_first_process() and not as_json:  # at once: the imports take seconds
        end = "nothing is written" if dry_run else f"records and pages are in {output}"
        print_line(f"{printable(benchmark)}: planning; {end}")
        sys.stdout.flush()
    from rich.console import Console

    from capsbench.progress import activity

    console = Console()
    template = worker_template(mirrors=wandb != "off")
    if executor == "local" and workers != 0 and not dry_run and not _has_page(output, benchmark):
        template.start()  # its imports take as long as the planning
    with activity(console, "starting"):
        from capsbench.schema import parse_changes

        values = parse_changes(settings or [])  # refused before torch is imported

        from capsbench.executors.options import ExecutorOptions
        from capsbench.executors.slurm_options import parse_slurm
        from capsbench.running.protocol import list_cells, protocol_changes, run_protocol
        from capsbench.running.session import Session
        from capsbench.training.devices import require_devices
        from capsbench.training.execution import make_execution

    changes = protocol_changes(
        models=models or [],
        seeds=seed_list,
        settings=values,
        scale=scale,
        limit=limit,
        search=search,
    )
    execution = make_execution(
        device=device,
        devices=devices,
        nodes=nodes,
        strategy=strategy,
        backend=backend,
        checkpoint_every=checkpoint_every,
        profile=profile,
        loggers=tuple(logger or ()),
        wandb=wandb,
        wandb_project=wandb_project,
        wandb_entity=wandb_entity,
        wandb_tags=tuple(part for part in (wandb_tags or "").split(",") if part),
        wandb_artifacts=wandb_artifacts,
    )
    options = ExecutorOptions(
        name=executor,
        workers=workers,
        per_device=per_device,
        retries=retries,
        address=address,
        slurm=parse_slurm(slurm or []),
    )
    if not options.is_elsewhere:
        require_devices(execution)
    session = Session(
        output,
        data_root,
        execution,
        console,
        options,
        retry_failed=retry == "failed",
        template=template,
    )
    with trusting_code(trust_code), template:
        if dry_run:
            planned = list_cells(benchmark, changes, data_root, session.device)
            print_dry_run(planned, session, as_json=as_json)
        else:
            outcome = run_protocol(benchmark, changes, session, command=_command())
            if outcome.failed:
                raise typer.Exit(SOME_FAILED)


def _has_page(output: Path, benchmark: str) -> bool:
    """Guess if the benchmark is finished, from the name alone."""
    return (output / Path(benchmark).stem / "report").is_dir()


def _command() -> str:
    return printable(shlex.join(["capsbench", *sys.argv[1:]]))


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
