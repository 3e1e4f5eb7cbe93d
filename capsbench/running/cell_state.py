"""Progress of a cell, from the files in its folder alone."""

from __future__ import annotations

from typing import Literal

from capsbench.files.atomic import is_present
from capsbench.records import CellFolder
from capsbench.records.cell_files import load_config, load_training, load_trajectory
from capsbench.records.training import TrainingRecord
from capsbench.records.trajectory import validation_steps
from capsbench.running.cell import Cell
from capsbench.running.checkpoints import has_checkpoint
from capsbench.running.measure_job import missing_measures
from capsbench.running.session import Session

State = Literal["done", "failed", "to measure", "resumable", "to do"]


def cell_state(cell: Cell, session: Session) -> State:
    """Return the progress of a cell.

    A finished training whose records are gone is to do again. One that lost its weights is to do
    again if a measure needs them: weights may be deleted to free the disk.

    Raises:
        UserError: A file is damaged, or belongs to another cell.
    """
    folder = session.folder(cell)
    training = load_complete_training(cell, folder)
    if training and (training.status == "diverged" or not missing_measures(cell, folder)):
        return "done"  # also if it failed for another benchmark
    if is_present(folder.failure):
        return "failed"
    if training and has_weights(cell, folder):
        return "to measure"
    return "resumable" if folder.state.is_file() else "to do"


def load_complete_training(cell: Cell, folder: CellFolder) -> TrainingRecord | None:
    """Read the outcome of a training, if it has all of its records, and verify them.

    Raises:
        UserError: One is damaged, or belongs to another cell.
    """
    if is_present(folder.config):
        load_config(folder)
    if not is_present(folder.training):
        return None
    training = load_training(folder)
    if validation_steps(cell.config, training) and not is_present(folder.trajectory):
        return None
    load_trajectory(folder, cell.config, training)
    return training


def is_complete(cell: Cell, folder: CellFolder) -> bool:
    """Check that a training has its records and the weights that are measured.

    Raises:
        UserError: A record is damaged, or belongs to another cell.
    """
    training = load_complete_training(cell, folder)
    if training is None:
        return False
    return training.status == "diverged" or has_weights(cell, folder)


def has_weights(cell: Cell, folder: CellFolder) -> bool:
    """Check that a cell has the checkpoint of its rule; damage shows when it is loaded."""
    return has_checkpoint(folder.checkpoint(cell.rule))
