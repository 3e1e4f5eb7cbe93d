"""Curves of a training as files: TensorBoard events, and a CSV table.

Lightning's own loggers of these kinds begin their files before the state of a resumed training is
loaded: one removes the earlier rows, the other keeps those after the state. These begin at the
first number.
"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities import rank_zero_only

from capsbench.training.execution import LoggerName

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def make_loggers(names: Sequence[LoggerName], folder: Path) -> list[Logger]:
    """Return Lightning loggers that continue the curves of a resumed training.

    Args:
        names: Kinds of files.
        folder: Folder of the training; each kind has a folder of its name in it.
    """
    kinds: dict[LoggerName, type[CurvesFile]] = {"tensorboard": TensorBoardCurves, "csv": CSVCurves}
    return [kinds[name](folder / name) for name in dict.fromkeys(names)]


class CurvesFile(Logger, ABC):
    """Curves in a folder, whose steps are counted from 1.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._is_begun = False

    @property
    def name(self) -> str:
        """Name of the kind."""
        return self._folder.name

    @property
    def version(self) -> str:
        """Name of the training."""
        return self._folder.parent.name

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Log nothing: ``config.json`` beside the folder is complete."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers of a step, which Lightning counts from 0."""
        number = (step or 0) + 1
        if not self._is_begun:
            self._begin(number)
            self._is_begun = True
        self._write(metrics, number)

    @abstractmethod
    def _begin(self, step: int) -> None:
        """Begin, or go on before a step: later numbers of a killed training are dropped."""

    @abstractmethod
    def _write(self, metrics: Mapping[str, float], step: int) -> None:
        """Write numbers at once: a state of the training that is saved next must not be ahead."""


class TensorBoardCurves(CurvesFile):
    """Event files of TensorBoard."""

    _writer: SummaryWriter

    def _begin(self, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(self._folder, purge_step=step)

    def _write(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the file."""
        if self._is_begun:
            self._writer.close()


class CSVCurves(CurvesFile):
    """The table ``metrics.csv``."""

    _writer: ExperimentWriter

    def _begin(self, step: int) -> None:
        path = self._folder / ExperimentWriter.NAME_METRICS_FILE
        rows = list(csv.DictReader(path.read_text().splitlines())) if path.is_file() else []
        path.unlink(missing_ok=True)
        self._writer = ExperimentWriter(str(self._folder))
        for row in rows:
            numbers = {name: float(value) for name, value in row.items() if value}
            if (earlier := int(numbers.pop("step"))) < step:
                self._writer.log_metrics(numbers, earlier)

    def _write(self, metrics: Mapping[str, float], step: int) -> None:
        self._writer.log_metrics(dict(metrics), step)
        self._writer.save()
