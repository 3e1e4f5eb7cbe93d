"""A finished cell found again from its folder, to be measured in further ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from capsbench.errors import UserError
from capsbench.measures import MeasureEntry
from capsbench.names import Kind, find, from_folder
from capsbench.records import CellFolder, read_json
from capsbench.reporting.results import read_training
from capsbench.running.plan import Cell, with_measures


def finished_cell(
    folder: Path,
    entries: Sequence[MeasureEntry],
    *,
    rule: str,
    model: str | None = None,
    data: str | None = None,
    sources: Mapping[str, Path] | None = None,
) -> Cell:
    """Read the cell of a folder, with other measures than it was made for.

    Args:
        folder: The cell's folder, such as ``runs/digits/cnn-small/0-0123456789ab``.
        entries: The measures.
        rule: The selection rule whose weights are measured.
        model: Where the model is found, if it has no registered name.
        data: Where the data module is found, likewise.
        sources: The folders of other trainings that measures look at, by label.

    Raises:
        UserError: A folder holds no finished training, or the model or data is another one.
    """
    records = CellFolder(folder)
    if not records.config.is_file() or not records.training.is_file():
        raise UserError(
            f"{folder} holds no finished training: name the folder of one, such as "
            "runs/digits/cnn-small/0-0123456789ab"
        )
    if read_training(records).status == "diverged":
        raise UserError(f"{folder}: this training diverged, and left no weights to measure")
    if not records.checkpoint(rule).is_dir():
        raise UserError(f"{folder} has no checkpoint '{rule}'")
    content = read_json(records.config)
    config = {key: content[key] for key in content if key not in ("schema", "fingerprint")}
    training = Cell(
        label=config["model"]["name"],
        model=_found("models", model, config["model"]["name"]),
        data=_found("datamodules", data, config["data"]["name"]),
        seed=config["seed"],
        config=config,
        path=folder.absolute(),
        rule=rule,
        measures={},
    )
    others = {
        label: finished_cell(source, [], rule=rule) for label, source in (sources or {}).items()
    }
    return with_measures(training, entries, others)


def _found(kind: Kind, given: str | None, recorded: str) -> str:
    """The name by which a model or a data module is found, which must be the recorded one."""
    option = {"models": "--model", "datamodules": "--data"}[kind]
    if given is None and "@" in recorded:
        cls = recorded.partition("@")[0]
        raise UserError(f"{cls} comes from a file of yours: name it by {option} FILE.py:{cls}")
    name = given or recorded
    if (identity := find(kind, name).identity()) != recorded:
        raise UserError(f"{option}: expected what was trained, {recorded}; got {identity}")
    return from_folder(Path.cwd(), name)
