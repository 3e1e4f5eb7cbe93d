"""Curves of a training as a Lightning logger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import Logger

from capsbench.reporting.wandb.keys import STEP
from capsbench.reporting.wandb.run import Run


class Curves(Logger):
    """Logs to a run that is begun and ended elsewhere.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        run.define_axis(STEP, ["*"])

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "wandb"

    @property
    def version(self) -> str:
        """Id of the run."""
        return self._run.id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers of a step, which Lightning counts from 0."""
        self._run.log({STEP: (step or 0) + 1, **metrics})

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Log nothing: the configuration is complete from the start."""
