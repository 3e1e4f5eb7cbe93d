"""Jobs: the work of a benchmark as a list with dependencies, each one plain JSON."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from capsbench.errors import UserError
from capsbench.records import BenchmarkRecord
from capsbench.records.training import DataConfig
from capsbench.running.cell import Cell
from capsbench.running.cell_state import cell_state, is_complete
from capsbench.running.measure_job import missing_measures
from capsbench.running.session import Session

CellJobKind = Literal["train", "measure"]


class CellJob(BaseModel):
    """A piece of work on one cell.

    Attributes:
        kind: ``train`` the cell, or ``measure`` it.
        benchmark: Name of the benchmark.
        cell: The cell.
        measures: Names of the measures of a ``measure`` job; empty for all that are missing.
        depends_on: Identities of the jobs that must have succeeded before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: CellJobKind
    benchmark: str
    cell: Cell
    measures: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Identity of the job, the same for equal work."""
        return " ".join((self.kind, self.cell.path.as_posix(), *self.measures))

    @property
    def title(self) -> str:
        """The job in a few words."""
        return f"{self.kind} {self.cell.title}, seed {self.cell.seed}"


class ReportJob(BaseModel):
    """The page of a benchmark.

    Attributes:
        benchmark: Name of the benchmark.
        record: Its record.
        data: Its data, by which models that were trained elsewhere belong to it.
        depends_on: Identities of the jobs that must have ended before, with or without success.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["report"] = "report"
    benchmark: str
    record: BenchmarkRecord
    data: DataConfig
    depends_on: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Identity of the job."""
        return f"report {self.benchmark}"

    @property
    def title(self) -> str:
        """The job in a few words."""
        return f"page of {self.benchmark}"


Job = Annotated[CellJob | ReportJob, Field(discriminator="kind")]


def plan_jobs(cells: Sequence[Cell], benchmark: str, session: Session) -> list[CellJob]:
    """List the jobs of the cells that are not done, each after those that it depends on.

    A cell is trained, then measured; a measure also depends on the trainings of its sources.
    Processes of a group must meet at each training, so there all trainings come first, and each
    measure is a job of its own, so that all devices have work. A cell that failed has no jobs, and
    no measure can use it.

    Args:
        cells: The cells.
        benchmark: Name of the benchmark.
        session: The session.

    Raises:
        UserError: A source is not trained and not among the cells.
    """
    states = {cell.path: cell_state(cell, session) for cell in cells}
    failed = {path for path, state in states.items() if state == "failed"}
    todo = [cell for cell in cells if states[cell.path] not in ("done", "failed")]
    sources = {source.path for cell in todo for source in cell.sources.values()}
    untrained = [
        cell
        for cell in cells
        if states[cell.path] in ("resumable", "to do")
        or (cell.path in sources - failed and not is_complete(cell, session.folder(cell)))
    ]
    listed = {cell.path for cell in todo}
    todo += [cell for cell in untrained if cell.path not in listed]
    training = {
        cell.path: CellJob(kind="train", benchmark=benchmark, cell=cell) for cell in untrained
    }
    trainings_first = session.execution.processes > 1 or any(cell.sources for cell in cells)
    jobs = list(training.values()) if trainings_first else []
    for cell in todo:
        if cell.path in training and not trainings_first:
            jobs.append(training[cell.path])
        if failed & {source.path for source in cell.sources.values()}:
            continue
        _require_sources(cell, training.keys(), session)
        needed = [cell, *cell.sources.values()]
        depends_on = tuple(training[each.path].id for each in needed if each.path in training)
        jobs += [
            CellJob(
                kind="measure",
                benchmark=benchmark,
                cell=cell,
                measures=names,
                depends_on=depends_on,
            )
            for names in _shares(cell, cell.path in training, session)
        ]
    return jobs


def _shares(cell: Cell, trained_first: bool, session: Session) -> list[tuple[str, ...]]:
    """Return the measures of each job; those of a cell on several devices are shared among them."""
    if session.execution.processes == 1:
        return [()]
    names = cell.measures if trained_first else missing_measures(cell, session.folder(cell))
    return [(name,) for name in names]


def _require_sources(cell: Cell, training: Collection[Path], session: Session) -> None:
    for source in cell.sources.values():
        if source.path not in training and not is_complete(source, session.folder(source)):
            raise UserError(
                f"measures of {cell.title} need {source.title}, seed {source.seed}, which "
                "is not trained yet: name it too, or run all models"
            )
