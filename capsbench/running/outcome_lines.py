"""Lines on the outcome of jobs and cells."""

from __future__ import annotations

from capsbench.files.atomic import is_present
from capsbench.names import without_folder
from capsbench.records import load_cell
from capsbench.running.cell import Cell
from capsbench.running.job_request import JobRequest, Outcome
from capsbench.running.jobs import Job
from capsbench.running.session import Session
from capsbench.values import Quantity


def print_failure(job: Job, outcome: Outcome, session: Session) -> None:
    """Print the reason of a failure, and the place of its log."""
    log = JobRequest.of(job, session).log
    where = f"; see {log}" if is_present(log) else ""
    session.print(f"{job.title}: {outcome.status}: {outcome.reason}{where}")
    if outcome.traceback:
        session.print(outcome.traceback)


def print_cell(cell: Cell, session: Session, *, note: str = "", trained: bool) -> None:
    """Print the outcome of a cell, and the place of its profile.

    Args:
        cell: The cell.
        session: The session.
        note: Text at the end of the line.
        trained: True if this run has trained it.
    """
    session.print(_cell_line(cell, session) + note)
    if session.execution.profile:
        session.print(_profile_line(cell, session, trained=trained))


def _cell_line(cell: Cell, session: Session) -> str:
    """Return the outcome of a cell in one line; accuracies of several measures are named."""
    result = load_cell(session.output, cell.reference)
    title = f"{cell.title}, seed {cell.seed}"
    if result.problem is not None or result.training is None:
        return f"{title}: {result.problem}"
    numbers = {
        without_folder(measure): [
            f"{split} {value:.3f}"
            for split in ("familiar", "novel")  # without values of single views or crops
            if (value := record.get(Quantity(metric="accuracy", split=split))) is not None
        ]
        for measure, record in result.measures.items()
    }
    texts = {measure: ", ".join(parts) for measure, parts in numbers.items() if parts}
    if len(texts) > 1:
        texts = {measure: f"{measure}: {text}" for measure, text in texts.items()}
    return "; ".join([f"{title}: trained in {result.training.seconds:.1f} s", *texts.values()])


def _profile_line(cell: Cell, session: Session, *, trained: bool) -> str:
    """Return the place of a cell's profile, and the way to open it."""
    folder = session.folder(cell).profile
    if not trained:
        return "  no profile: the cell was trained before; another --output trains it again"
    if not folder.is_dir():
        return "  no profile: the training ended before the steps to be profiled"
    from capsbench.training.profile import TABLE, TRACE  # imports Lightning

    trace, table = folder / TRACE, folder / TABLE
    return f"  profile: {table}; open {trace} in chrome://tracing or ui.perfetto.dev"
