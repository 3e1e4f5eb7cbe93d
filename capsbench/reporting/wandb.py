"""Mirror of a run on Weights & Biases; a failure there never ends the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

from pytorch_lightning.loggers import WandbLogger

from capsbench.reporting.wandb_login import Mode

log = logging.getLogger(__name__)
PROJECT = "capsbench"
INIT_TIMEOUT = 10.0  # seconds


class Mirror(WandbLogger):
    """A Lightning logger that stops mirroring, with one warning, at its first failure.

    The run's directory is ``<folder>/wandb``; its id is stable, so that a cell's training and
    measures, and a resumed training, are one run there.

    Args:
        name: Name of the run.
        folder: Folder of its files.
        run_id: Id of the run.
        mode: ``offline`` or ``online``.
        group: The benchmark.
        job_type: ``train`` or ``evaluate`` of a cell, or ``aggregate`` of a benchmark.
        config: Configuration that the run shows.
    """

    def __init__(
        self,
        *,
        name: str,
        folder: Path,
        run_id: str,
        mode: Mode,
        group: str,
        job_type: Literal["train", "evaluate", "aggregate"],
        config: Mapping[str, Any],
    ) -> None:
        import wandb

        super().__init__(
            name=name,
            save_dir=folder,
            id=run_id,
            project=PROJECT,
            offline=mode == "offline",
            group=group,
            job_type=job_type,
            config=dict(config),
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=INIT_TIMEOUT,
                disable_git=True,
                x_disable_stats=True,
                x_save_requirements=False,
            ),
        )
        self.failed = False
        # Lightning passes on an option that wandb has given up, and wandb prints a complaint.
        self._wandb_init.pop("anonymous", None)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers at a step."""
        self._attempt(lambda: WandbLogger.log_metrics(self, metrics, step))

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Log nothing: the configuration is complete from the start."""

    def log_results(
        self,
        values: Mapping[str, Any],
        table: tuple[Sequence[str], Sequence[Sequence[Any]]],
        figures: Mapping[str, bytes],
    ) -> None:
        """Add results to the run's summary, with a table and pictures.

        Args:
            values: Numbers by name.
            table: Columns and rows of the table ``values``.
            figures: PNG pictures by name.
        """
        import wandb
        from PIL import Image

        def send() -> None:
            run = self.experiment
            columns, rows = table
            media = {key: wandb.Image(Image.open(BytesIO(png))) for key, png in figures.items()}
            run.log({"values": wandb.Table(columns=list(columns), data=[*map(list, rows)])} | media)
            run.summary.update(dict(values))

        self._attempt(send)

    def finalize(self, status: str) -> None:
        """Leave the run open; `close` ends it."""

    def close(self) -> None:
        """End the run, also after a failure, so that the next run does not join it."""
        if self._experiment is not None:
            self.failed = False
            self._attempt(self._experiment.finish)

    def _attempt(self, action: Callable[[], Any]) -> None:
        if self.failed:
            return
        try:
            action()
        # A failure of the mirror (login, network, disk, the service) must not end a training.
        except Exception as error:  # noqa: BLE001 - wandb has no common error for these
            self.failed = True
            log.warning("Weights & Biases stopped mirroring: %s", shorten(str(error), 200))


def begin(**arguments: Any) -> Mirror | None:
    """Begin a run with the arguments of `Mirror`; return None, with a warning, if that fails."""
    try:
        mirror = Mirror(**arguments)
        # Begin it now, outside of the timed training.
        _ = mirror.experiment
    except Exception as error:  # noqa: BLE001 - as in Mirror: a training goes on without one
        log.warning("Weights & Biases could not be started: %s", shorten(str(error), 200))
        return None
    return mirror
