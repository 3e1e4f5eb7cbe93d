"""Curves of a training as files: TensorBoard events, and a CSV table."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from capsbench.training.execution import LoggerName


def make_loggers(names: Sequence[LoggerName], folder: Path) -> list[Logger]:
    """Return Lightning loggers that continue the curves of a resumed training.

    Args:
        names: Kinds of files.
        folder: Folder of the training; each kind has a folder of its name in it.
    """
    kinds = {"tensorboard": TensorBoardCurves, "csv": CSVCurves}
    return [kinds[name](folder, name=name, version="") for name in dict.fromkeys(names)]


class TensorBoardCurves(TensorBoardLogger):
    """Event files; TensorBoard drops what a killed training logged after its last state."""

    def __init__(self, folder: Path, **kwargs: Any) -> None:
        super().__init__(folder, default_hp_metric=False, **kwargs)

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Log nothing: ``config.json`` beside the curves is complete."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers of a step, which Lightning counts from 0."""
        number = (step or 0) + 1
        self._kwargs.setdefault("purge_step", number)  # of the writer, which begins here
        super().log_metrics(dict(metrics), number)


class CSVCurves(CSVLogger):
    """A table, with the rows of a killed training up to its last state."""

    def __init__(self, folder: Path, **kwargs: Any) -> None:
        super().__init__(folder, flush_logs_every_n_steps=1, **kwargs)
        self._is_begun = False

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Log nothing: ``config.json`` beside the curves is complete."""

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log numbers of a step, which Lightning counts from 0."""
        number = (step or 0) + 1
        if not self._is_begun:
            self._is_begun = True
            self._write_again(number)
        super().log_metrics(metrics, number)

    def _write_again(self, end: int) -> None:
        """Write the earlier rows before a step: Lightning removes the file when it begins."""
        path = Path(self.log_dir, "metrics.csv")
        rows = list(csv.DictReader(path.read_text().splitlines())) if path.is_file() else []
        path.unlink(missing_ok=True)
        for row in rows:
            numbers = {name: float(value) for name, value in row.items() if value}
            if (step := int(numbers.pop("step"))) < end:
                self.experiment.log_metrics(numbers, step)
