"""Jobs: the work of a benchmark as a list with dependencies, each one plain JSON."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from capsbench.errors import UserError
from capsbench.running.cell import Cell
from capsbench.running.cell_state import cell_state, is_complete
from capsbench.running.session import Session

Kind = Literal["train", "measure", "mirror"]


class Job(BaseModel):
    """A piece of work on one cell; every executor carries it out by the same function.

    Attributes:
        kind: ``train`` the cell, ``measure`` it, or ``mirror`` its records to Weights & Biases.
        benchmark: Name of the benchmark.
        cell: The cell.
        depends_on: Identities of the jobs that must be done before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    benchmark: str
    cell: Cell
    depends_on: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Identity of the job, the same for equal work."""
        return _id(self.kind, self.cell)


def plan_jobs(cells: Sequence[Cell], benchmark: str, session: Session) -> list[Job]:
    """List the jobs of the cells that are not done, each after those that it depends on.

    A cell is trained, then measured, then mirrored; a measure also depends on the trainings of its
    sources. Processes of a group must meet at each training, so there all trainings come first.

    Args:
        cells: The cells.
        benchmark: Name of the benchmark.
        session: The session.

    Raises:
        UserError: A source is not trained and not among the cells.
    """
    states = {cell.path: cell_state(cell, session) for cell in cells}
    todo = [cell for cell in cells if states[cell.path] != "done"]
    sources = {source.path for cell in todo for source in cell.sources.values()}
    untrained = [
        cell
        for cell in cells
        if states[cell.path] in ("resumable", "to do")
        or (cell.path in sources and not is_complete(cell, session.folder(cell)))
    ]
    todo += [cell for cell in untrained if cell not in todo]
    training = {cell.path: Job(kind="train", benchmark=benchmark, cell=cell) for cell in untrained}
    trainings_first = session.execution.processes > 1 or any(cell.sources for cell in cells)
    jobs = list(training.values()) if trainings_first else []
    for cell in todo:
        if cell.path in training and not trainings_first:
            jobs.append(training[cell.path])
        needed = [cell, *cell.sources.values()]
        depends_on = tuple(training[each.path].id for each in needed if each.path in training)
        _require_sources(cell, training.keys(), session)
        jobs.append(Job(kind="measure", benchmark=benchmark, cell=cell, depends_on=depends_on))
        if session.execution.wandb != "off":
            jobs.append(
                Job(
                    kind="mirror",
                    benchmark=benchmark,
                    cell=cell,
                    depends_on=(_id("measure", cell),),
                )
            )
    return jobs


def _require_sources(cell: Cell, training: Collection[Path], session: Session) -> None:
    for source in cell.sources.values():
        if source.path not in training and not is_complete(source, session.folder(source)):
            raise UserError(
                f"measures of {cell.title} need {source.title}, seed {source.seed}, which "
                "is not trained yet: name it too, or run all models"
            )


def _id(kind: Kind, cell: Cell) -> str:
    return f"{kind} {cell.path.as_posix()}"
