"""A cell in one of several runs folders, with its verified records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from capsbench.errors import UserError
from capsbench.files.atomic import is_present
from capsbench.records import (
    CellFolder,
    CellReference,
    CellResult,
    MeasureRecord,
    TrainingConfig,
    TrainingRecord,
    WeightsRecord,
)
from capsbench.records.cell_files import (
    load_complete_measure,
    load_config,
    load_training,
    load_trajectory,
    load_weights,
)
from capsbench.records.live import live_holders
from capsbench.running.checkpoints import has_checkpoint


class Piece(NamedTuple):
    """A file to be copied.

    Attributes:
        source: The file.
        path: Its place, relative to the runs folder.
        sha256: Recorded SHA-256; None for a record, which holds a checksum of its own.
    """

    source: Path
    path: str
    sha256: str | None = None


@dataclass(frozen=True)
class CellSource:
    """A cell in one of the runs folders.

    Attributes:
        runs: The runs folder.
        path: Folder of the cell, relative to it.
        config: What determines the training; None before it begins.
        training: Outcome of a finished training.
        weights: Record of a model that was trained elsewhere.
        measures: Records of the measures of a finished cell, by their names.
    """

    runs: Path
    path: str
    config: TrainingConfig | None = None
    training: TrainingRecord | None = None
    weights: WeightsRecord | None = None
    measures: Mapping[str, MeasureRecord] = field(default_factory=dict)

    @classmethod
    def load(cls, runs: Path, path: str) -> CellSource:
        """Read the records of a cell, and verify them.

        Raises:
            UserError: A process works on the cell, or a record is damaged.
        """
        folder = CellFolder(runs / path)
        if holders := live_holders(folder):
            raise UserError(
                f"{folder.path} is in use by {holders[0]}: wait for it, or stop it first"
            )
        weights = load_weights(folder) if is_present(folder.weights) else None
        training = load_training(folder) if is_present(folder.training) else None
        config = load_config(folder) if training or is_present(folder.config) else None
        if training is not None:
            load_trajectory(folder, config, training)
        finished = weights is not None or training is not None
        return cls(
            runs, path, config, training, weights, complete_measures(folder) if finished else {}
        )

    @property
    def folder(self) -> CellFolder:
        """Folder of the cell."""
        return CellFolder(self.runs / self.path)

    def result(self, reference: CellReference) -> CellResult:
        """Return the cell as tables have it, without its trajectory."""
        own = {name: self.measures.get(file) for name, file in reference.measures.items()}
        measures = {name: record for name, record in own.items() if record is not None}
        return CellResult(
            reference, self.folder, self.config, self.training, [], measures, self.weights
        )

    @property
    def is_finished(self) -> bool:
        """True if the training is done, or the model was trained elsewhere."""
        return self.training is not None or self.weights is not None

    @property
    def has_failed(self) -> bool:
        """True if a job on the cell failed."""
        return is_present(self.folder.failure)

    @property
    def has_begun(self) -> bool:
        """True if anything in the folder is worth keeping."""
        return self.is_finished or self.has_failed or is_present(self.folder.state)

    @property
    def checkpoints(self) -> list[str]:
        """Selection rules whose weights are there."""
        rules = self.training.selected if self.training else ()
        return [rule for rule in rules if has_checkpoint(self.folder.checkpoint(rule))]

    @property
    def date(self) -> str:
        """Date of the training."""
        record = self.training or self.weights
        return "" if record is None else record.provenance.date

    def piece(self, path: Path, sha256: str | None = None) -> Piece:
        """Return a file of the cell as a piece."""
        return Piece(path, path.relative_to(self.runs).as_posix(), sha256)


def complete_measures(folder: CellFolder) -> dict[str, MeasureRecord]:
    """Read the complete measures of a cell; a file that only begins with a dot is unfinished."""
    names = sorted(path.stem for path in (folder.path / "measures").glob("[!.]*.json"))
    records = {name: load_complete_measure(folder, name) for name in names}
    return {name: record for name, record in records.items() if record is not None}
