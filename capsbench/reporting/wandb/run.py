"""A run on Weights & Biases; a failure there never ends the work that it shows."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

from capsbench.files.atomic import is_present, remove, write_bytes
from capsbench.reporting.wandb.login import TIMEOUT, Mode, check_login, end_in_time

if TYPE_CHECKING:
    from wandb import Artifact
    from wandb import Run as WandbRun

log = logging.getLogger(__name__)
PROJECT = "capsbench"
FOLDER = "wandb"  # in the runs folder, for the files of all runs
FAILURE = ".wandb-failure"  # in the runs folder: the first failure of a command
JobType = Literal["train", "evaluate", "aggregate"]


@dataclass(frozen=True)
class Destination:
    """Place of the runs of a command.

    Attributes:
        runs: The runs folder; the files of all runs are in its folder ``wandb``.
        mode: ``offline`` or ``online``.
        project: Project; None for that of the environment, or ``capsbench``.
        entity: User or team; None for that of the login.
        tags: Tags of every run.
        uploads: Weights and records are sent as well, which can take minutes.
    """

    runs: Path
    mode: Mode
    project: str | None = None
    entity: str | None = None
    tags: tuple[str, ...] = ()
    uploads: bool = False

    @property
    def failure(self) -> str:
        """The first failure of this command, in a few words; empty without one."""
        path = self.runs / FAILURE
        return path.read_text(encoding="utf-8") if is_present(path) else ""

    @property
    def current_mode(self) -> Mode:
        """The mode now: offline after the first failure, so that it costs time only once."""
        return "offline" if self.failure else self.mode

    def add_failure(self, reason: str) -> None:
        """State a failure for all processes of the command, which tells it once at its end."""
        log.debug("Weights & Biases: %s", reason)
        if not self.failure:
            with suppress(OSError):  # of a full disk: this must not end a training either
                write_bytes(self.runs / FAILURE, shorten(reason, 200).encode())

    def forget_failure(self) -> None:
        """Try again, at the begin of a command."""
        if is_present(self.runs / FAILURE):
            remove(self.runs / FAILURE)


class Run:
    """A run that stops sending at its first failure, which the command tells at its end.

    Args:
        run: The run of wandb.
        destination: Its place.
    """

    def __init__(self, run: WandbRun, destination: Destination) -> None:
        self.failed = False
        self._run = run
        self._destination = destination

    @property
    def id(self) -> str:
        """Id of the run."""
        return self._run.id

    @property
    def folder(self) -> Path:
        """Folder of its files."""
        return Path(self._run.dir).parent

    def define_axis(self, axis: str, names: Iterable[str]) -> None:
        """Draw numbers against another one, in place of the number of calls of `log`."""

        def define() -> None:
            self._run.define_metric(axis, hidden=True)
            for name in names:
                self._run.define_metric(name, step_metric=axis)

        self._attempt(define)

    def log(self, row: Mapping[str, Any]) -> None:
        """Add a row to the history."""
        self._attempt(lambda: self._run.log(dict(row)))

    def log_table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add a table, of whose columns each has numbers, texts, truth values or pictures.

        A column of several kinds becomes text: without a type, it is neither sorted nor drawn.
        """

        def send() -> None:
            import wandb

            by_column = map(_of_one_kind, zip(*rows, strict=True))
            data = [list(row) for row in zip(*by_column, strict=True)]
            self._run.log({name: wandb.Table(columns=list(columns), data=data)})

        self._attempt(send)

    def summarize(self, values: Mapping[str, Any]) -> None:
        """Set numbers of the summary, which lists of runs show."""
        self._attempt(lambda: self._run.summary.update(dict(values)))

    def add_artifact(self, make: Callable[[], Artifact], aliases: Sequence[str]) -> None:
        """Add files that the run has made."""
        self._attempt(lambda: self._run.log_artifact(make(), aliases=list(aliases)))

    def use_artifact(self, make: Callable[[], Artifact], aliases: Sequence[str]) -> None:
        """State that the run has used files, which are added if the server lacks them."""
        # The public method refuses offline runs; this is what it calls online.
        self._attempt(
            lambda: self._run._log_artifact(  # noqa: SLF001
                make(), aliases=list(aliases), is_user_created=True, use_after_commit=True
            )
        )

    def finish(self) -> None:
        """End the run, also after a failure."""
        self.failed = False
        self._attempt(self._run.finish)

    def _attempt(self, action: Callable[[], Any]) -> None:
        if self.failed:
            return
        try:
            action()
        # A failure of the mirror (login, network, disk, the service) must not end a training.
        except Exception as error:  # noqa: BLE001 - wandb has no common error for these
            self.failed = True
            end_in_time()
            self._destination.add_failure(str(error))


def _of_one_kind(values: Sequence[Any]) -> Sequence[Any]:
    """Return the values of a column, as texts if they are of several kinds; None is of none."""
    kinds = {float if type(each) is int else type(each) for each in values if each is not None}
    if len(kinds) < 2:
        return values
    return [None if each is None else str(each) for each in values]


def begin(
    destination: Destination,
    *,
    run_id: str,
    name: str,
    group: str,
    job_type: JobType,
    config: Mapping[str, Any],
    notes: str = "",
    tags: Sequence[str] = (),
    live: bool = False,
) -> Run | None:
    """Begin a run; return None if that fails, see `Destination.failure`.

    A training that is resumed continues its run; of the other types, a run of the same id takes the
    place of the earlier one.

    Args:
        destination: Its place.
        run_id: Id, by which it is found again.
        name: Name that is shown.
        group: Group; that of the benchmark, or of the data for a training.
        job_type: Kind of work.
        config: Plain values by names that can be filtered, see `capsbench.reporting.wandb.keys`.
        notes: A few sentences.
        tags: Tags beside those of the destination.
        live: Send it while it is filled, if the destination is online. If the server does not
            answer, this run and all later ones of the command are offline, so that it costs time
            only once. Other runs are offline, see `capsbench.reporting.wandb.sending`.
    """

    def start(mode: Mode) -> Run:
        # Else wandb sends reports of errors, for which the end of a process waits 1 to 4 s.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        folder = destination.runs / FOLDER
        folder.mkdir(parents=True, exist_ok=True)  # else wandb takes /tmp
        if job_type != "train":
            for earlier in folder.glob(f"offline-run-*-{run_id}"):
                remove(earlier)
        settings = wandb.Settings(
            silent=True,
            console="off",
            symlink=False,  # workers would write it at the same time
            disable_git=True,  # the commit is part of the config
            init_timeout=TIMEOUT,
            finish_timeout=TIMEOUT,
            finish_timeout_raises=True,
            x_disable_stats=job_type != "train",  # system metrics
            x_save_requirements=False,
        )
        run = wandb.init(
            dir=destination.runs,
            mode=mode,
            project=destination.project or os.environ.get("WANDB_PROJECT") or PROJECT,
            entity=destination.entity,
            id=run_id,
            name=name,
            group=group,
            job_type=job_type,
            config=dict(config),
            notes=notes or None,
            tags=[*destination.tags, *tags] or None,
            resume="allow" if job_type == "train" else None,
            reinit="create_new",  # the run of a user's notebook stays as it is
            settings=settings,
        )
        return Run(run, destination)

    mode = destination.current_mode if live else "offline"
    if mode == "online" and (problem := check_login(TIMEOUT).problem):
        destination.add_failure(problem)
        mode = "offline"
    try:
        return start(mode)
    except Exception as error:  # noqa: BLE001 - as in Run: the work goes on without one
        end_in_time()
        destination.add_failure(str(error))
    return None
