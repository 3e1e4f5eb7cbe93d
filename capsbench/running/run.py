"""`capsbench.run`: carry out a benchmark or claims from Python."""

from __future__ import annotations

import operator
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from capsbench.arguments import one_line
from capsbench.environment import streams
from capsbench.environment.process_group import ProcessGroup
from capsbench.environment.signals import signals_of_caller
from capsbench.errors import UserError, printable
from capsbench.executors.options import ExecutorOptions
from capsbench.executors.slurm_options import parse_slurm
from capsbench.files.folders import require_folder, require_writable
from capsbench.files.yaml import write_yaml
from capsbench.reporting.loading import BenchmarkResults, ClaimsResults, load_results
from capsbench.running.next_step import RUNS
from capsbench.running.protocol import protocol_changes, run_protocol
from capsbench.running.session import Session
from capsbench.schema import parse_changes
from capsbench.training.devices import require_devices
from capsbench.training.execution import make_execution
from capsbench.trusted_code import trusting_code

NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


def run(
    benchmark: Path | str,
    *,
    models: Sequence[str] | str = (),
    seeds: Iterable[int] | None = None,
    settings: Mapping[str, Any] = NO_SETTINGS,
    search: bool = False,
    scale: str | None = None,
    limit: int | None = None,
    data_root: Path | str | None = None,
    output: Path | str = "runs",
    executor: str = "local",
    workers: int | None = None,
    per_device: int = 1,
    retries: int = 2,
    retry: str | None = None,
    address: str | None = None,
    slurm: Sequence[str] | str = (),
    device: str = "auto",
    devices: int = 1,
    strategy: str = "auto",
    backend: str = "auto",
    checkpoint_every: int | None = None,
    loggers: Sequence[str] | str = (),
    wandb: str = "offline",
    wandb_project: str | None = None,
    wandb_entity: str | None = None,
    wandb_tags: Sequence[str] | str = (),
    wandb_artifacts: bool = False,
    profile: bool = False,
    trust_code: bool = False,
) -> BenchmarkResults | ClaimsResults:
    """Train, measure, and build the page of a benchmark, as ``capsbench run`` does.

    Finished trainings and measures are not repeated. After an interruption, the same call continues
    where it stopped. The record states the equal command of the shell.

    Args:
        benchmark: A name of `capsbench.list_benchmarks`, or a YAML file.
        models: Labels or names of its models, such as ``["CNN"]``; all if empty. With ``+``, a
            model beside its own: ``["+net.py:Net"]``.
        seeds: Seeds in place of the file's.
        settings: Values of the file to be changed, such as ``{"recipe.steps": 500}``.
        search: First tune every model by equally many trials: learning rate, weight decay, and the
            model's knobs.
        scale: One of the file's scales, such as ``"small"``.
        limit: Largest number of images of each split.
        data_root: Folder of local data files; ``data`` by default.
        output: Folder of the records.
        executor: Engine of the jobs: ``local``, ``ray`` or ``slurm``.
        workers: Jobs at a time; 0 carries them out one after the other in this process.
        per_device: Jobs that share an accelerator.
        retries: Repetitions of a job whose process died.
        retry: ``failed`` to also try the jobs of cells again that have failed.
        address: Address of a Ray cluster.
        slurm: Options of SLURM, such as ``["partition=gpu,time=120"]``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: Devices of each training, a process on each.
        strategy: Lightning strategy for several processes.
        backend: Routing implementation; results are the same.
        checkpoint_every: Steps between resumable states.
        loggers: Also write the curves of trainings as such files: ``tensorboard`` or ``csv``.
        wandb: Mirror to Weights & Biases: ``off``, ``offline`` or ``online``.
        wandb_project: Its project; else that of the variable WANDB_PROJECT, or ``capsbench``.
        wandb_entity: Its user or team; else that of the login.
        wandb_tags: Tags of all its runs.
        wandb_artifacts: Also send weights and records.
        profile: Trace some steps of each training, in its folder.
        trust_code: Also run code that the file, or a record in ``output``, names elsewhere; see
            ``docs/safety.md``.

    Returns:
        The results, with the reasons of failed cells; of a file of claims, the verdicts.

    Raises:
        UserError: An argument, the benchmark or a change to it does not fit, a data file is
            missing, or another process trains one of its models.
        KeyboardInterrupt: The run was interrupted.
    """
    streams.make_ready()
    output = Path(output)
    data_root = None if data_root is None else Path(data_root)
    require_folder(data_root)
    require_writable(output)
    texts = _texts(models, "models: expected labels or names such as ['CNN']")
    slurm_texts = _texts(slurm, "slurm: expected options such as ['partition=gpu,time=120']")
    seed_list = None if seeds is None else _whole_numbers(seeds)
    if not isinstance(settings, Mapping):
        raise UserError(
            f"settings: expected a mapping such as {{'recipe.steps': 500}}, got {settings!r}"
        )
    if not isinstance(scale, str | None):
        raise UserError(f"scale: expected a name such as 'small', got {scale!r}")
    pairs = [f"{place}={_yaml(place, value)}" for place, value in settings.items()]
    changes = protocol_changes(
        models=texts,
        seeds=seed_list,
        settings=parse_changes(pairs),  # plain values, as from the shell
        search=search,
        scale=scale,
        limit=limit,
    )
    execution = make_execution(
        device=device,
        devices=devices,
        strategy=strategy,
        backend=backend,
        checkpoint_every=checkpoint_every,
        profile=profile,
        loggers=tuple(_texts(loggers, "loggers: expected names such as ['tensorboard']")),
        wandb=wandb,
        wandb_project=wandb_project,
        wandb_entity=wandb_entity,
        wandb_tags=tuple(_texts(wandb_tags, "wandb_tags: expected texts such as ['first']")),
        wandb_artifacts=wandb_artifacts,
    )
    try:
        executors = ExecutorOptions.model_validate(
            {
                "name": executor,
                "workers": workers,
                "per_device": per_device,
                "retries": retries,
                "address": address,
                "slurm": parse_slurm(slurm_texts),
            }
        )
    except ValidationError as error:
        raise UserError(one_line(error)) from None
    if retry not in (None, "failed"):
        raise UserError(f"retry: expected 'failed' or None, got {retry!r}")
    if not executors.is_elsewhere:
        require_devices(execution)
    session = Session(
        output, data_root, execution, Console(), executors, retry_failed=retry == "failed"
    )
    if ProcessGroup.current() is not None:
        raise UserError(
            "capsbench.run starts its own processes; on a cluster, start the command 'capsbench "
            "run' by torchrun or srun"
        )
    options: dict[str, Sequence[str]] = {
        "--models": texts,
        "--seeds": [] if seed_list is None else [",".join(map(str, seed_list))],
        "--set": pairs,
        "--scale": [] if scale is None else [scale],
        "--limit": [] if limit is None else [str(limit)],
        "--data-root": [] if data_root is None else [str(data_root)],
        "--output": [] if output == RUNS else [str(output)],
    }
    apart = {"profile", "loggers", "wandb_tags", "wandb_artifacts"}
    changed = execution.model_dump(exclude_defaults=True, exclude=apart)
    engine = executors.model_dump(exclude_defaults=True, exclude={"slurm"})
    if "name" in engine:
        changed["executor"] = engine.pop("name")
    changed |= engine
    options |= {f"--{name.replace('_', '-')}": [str(value)] for name, value in changed.items()}
    options |= {
        "--logger": execution.loggers,
        "--wandb-tags": [",".join(execution.wandb_tags)] if execution.wandb_tags else [],
    }
    options |= {"--slurm": slurm_texts, "--retry": [] if retry is None else [retry]}
    flags = {
        "--search": search,
        "--profile": profile,
        "--wandb-artifacts": wandb_artifacts,
        "--trust-code": trust_code,
    }
    command = _command(benchmark, options, [name for name, given in flags.items() if given])
    with signals_of_caller(), trusting_code(trust_code):
        outcome = run_protocol(str(benchmark), changes, session, command=command)
        assert outcome.page is not None  # the first process builds one
        return load_results(outcome.page.parents[1])


def _command(
    benchmark: Path | str, options: Mapping[str, Sequence[str]], flags: Sequence[str]
) -> str:
    """Return the equal command of the shell."""
    words = [word for name, values in options.items() for value in values for word in (name, value)]
    return printable(shlex.join(["capsbench", "run", str(benchmark), *words, *flags]))


def _texts(given: Any, expected: str) -> list[str]:
    """Return one text or several as a list.

    Raises:
        UserError: They are no texts; the message begins with what was expected.
    """
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, Iterable) or not all(isinstance(text, str) for text in texts):
        raise UserError(f"{expected}, got {given!r}")
    return list(texts)


def _whole_numbers(seeds: Iterable[int]) -> list[int]:
    try:
        return [operator.index(seed) for seed in seeds]  # of numpy too
    except TypeError:
        raise UserError(
            f"seeds: expected whole numbers such as [0, 1] or range(5), got {seeds!r}"
        ) from None


def _yaml(place: str, value: Any) -> str:
    """Return a value as YAML on one line."""
    try:
        return write_yaml(value)
    except ValueError as error:
        raise UserError(f"settings: {place}: {error}") from None
