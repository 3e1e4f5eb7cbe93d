"""A finished cell, read from its folder so that further measures can be computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from capsbench.errors import UserError
from capsbench.files.atomic import is_present
from capsbench.files.folders import is_folder
from capsbench.measures import MeasureConfig
from capsbench.names import Kind, find, from_folder, is_own_file
from capsbench.records import CellFolder
from capsbench.records.cell_files import load_config, load_training
from capsbench.running.cell import Cell
from capsbench.running.checkpoints import has_checkpoint
from capsbench.trusted_code import is_trusted


def load_finished_cell(
    folder: Path,
    measures: Sequence[MeasureConfig],
    *,
    rule: str,
    model: str | None = None,
    data: str | None = None,
    sources: Mapping[str, Path] | None = None,
) -> Cell:
    """Read the cell of a folder, with other measures than it was made for.

    Args:
        folder: Folder of the cell, such as ``runs/digits/cnn-small/0-0123456789ab``.
        measures: The measures.
        rule: Selection rule of the weights that are measured.
        model: Path of the model, if it has no registered name.
        data: Path of the data module, if it has no registered name.
        sources: Folders of other trainings that the measures use, by label.

    Raises:
        UserError: A folder holds no finished training, or the model or data differs.
    """
    files = CellFolder(folder)
    if is_folder(folder, "folder of a training") and files.weights.is_file():
        raise UserError(
            f"{folder} holds a model that was trained elsewhere: 'capsbench evaluate' measures it"
        )
    if not is_present(files.training):
        raise UserError(
            f"{folder} holds no finished training: name the folder of one, such as "
            f"{_finished_near(folder)}"
        )
    if load_training(files).status == "diverged":
        raise UserError(f"{folder}: this training diverged, and left no weights to measure")
    config = load_config(files)
    if not has_checkpoint(files.checkpoint(rule)):
        raise UserError(
            f"{folder} has no checkpoint '{rule}'; add the measure to the benchmark and run it "
            "again, which trains again what it needs"
        )
    cell = Cell(
        label=config.model.name,
        model=_resolve("models", model, config.model.name),
        data=_resolve("datamodules", data, config.data.name),
        config=config,
        path=folder.absolute(),
        rule=rule,
    )
    others = {
        label: load_finished_cell(source, [], rule=rule)
        for label, source in (sources or {}).items()
    }
    return cell.with_measures(measures, others)


def _finished_near(folder: Path) -> Path:
    """Return the folder of a finished training in the same runs folder, or else an example."""
    existing = (path for path in (folder, *folder.parents) if path.is_dir())
    for place in islice(existing, 2):  # a wrong name, or the folder of a benchmark
        for depth in range(1, 4):  # <data>/<model>/<seed>-<fingerprint>
            for record in sorted(place.glob(f"{'*/' * depth}{CellFolder(folder).training.name}")):
                return record.parent
    return Path("runs/digits/cnn-small/0-0123456789ab")


def _resolve(kind: Kind, given: str | None, recorded: str) -> str:
    """Return the name or path of a model or data module, which must be the recorded one."""
    option = {"models": "--model", "datamodules": "--data"}[kind]
    if given is None and is_own_file(recorded):
        cls = recorded.partition("@")[0]
        raise UserError(f"{cls} comes from a file of yours: name it by {option} FILE.py:{cls}")
    if given is None and not is_trusted(kind, recorded):
        raise UserError(
            f"the record states {recorded}, which no installed package registers: name it by "
            f"{option} {recorded} if you trust it"
        )
    name = given or recorded
    if (identity := find(kind, name).identity()) != recorded:
        raise UserError(f"{option}: expected the trained one, {recorded}; got {identity}")
    return from_folder(Path.cwd(), name)
