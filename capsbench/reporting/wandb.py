"""The mirror on Weights & Biases: our own records are the truth; no failure there ends a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

from pytorch_lightning.loggers import WandbLogger

from capsbench.reporting.wandb_login import why_offline

log = logging.getLogger(__name__)
PROJECT = "capsbench"
INIT_TIMEOUT = 10.0  # seconds
Mode = Literal["offline", "online"]


class Mirror(WandbLogger):
    """A Lightning logger that stops mirroring, with one warning, at its first failure.

    The run's directory is ``<folder>/wandb``; its id is stable, so that a cell's training and
    measures, and a resumed training, are one run there.

    Args:
        name: What the run is called.
        folder: Where its files go.
        run_id: The run's id.
        mode: ``offline`` or ``online``.
        group: The benchmark.
        job_type: ``cell`` or ``aggregate``.
        config: What was asked for.
    """

    def __init__(
        self,
        *,
        name: str,
        folder: Path,
        run_id: str,
        mode: Mode,
        group: str,
        job_type: Literal["cell", "aggregate"],
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
        """Nothing: the whole configuration was given at the start."""

    def log_results(
        self,
        values: Mapping[str, Any],
        table: tuple[Sequence[str], Sequence[Sequence[Any]]],
        figures: Mapping[str, bytes],
    ) -> None:
        """Put results into the run's summary, with a table and pictures.

        Args:
            values: Numbers by key.
            table: Columns and rows of the table ``accuracy-by-view``.
            figures: PNG pictures by key.
        """
        import wandb
        from PIL import Image

        def send() -> None:
            run = self.experiment
            columns, rows = table
            media = {key: wandb.Image(Image.open(BytesIO(png))) for key, png in figures.items()}
            run.log(
                {"accuracy-by-view": wandb.Table(columns=list(columns), data=[*map(list, rows)])}
                | media
            )
            run.summary.update(dict(values))

        self._attempt(send)

    def finalize(self, status: str) -> None:
        """Nothing: the run goes on after the training, with the measures; `close` ends it."""

    def close(self) -> None:
        """End the run, if it was begun; one that failed too, lest the next one join it."""
        if self._experiment is not None:
            self.failed = False
            self._attempt(self._experiment.finish)

    def _attempt(self, action: Callable[[], Any]) -> None:
        if self.failed:
            return
        try:
            action()
        # Whatever fails in a mirror (login, network, disk, the service) must not end a training.
        except Exception as error:  # noqa: BLE001
            self.failed = True
            log.warning("Weights & Biases stopped mirroring: %s", shorten(str(error), 200))


def begin(**arguments: Any) -> Mirror | None:
    """Begin a run; None, with one warning, where that fails. Arguments are those of `Mirror`."""
    try:
        mirror = Mirror(**arguments)
        # Now, so that its start is no part of a training's time and Lightning finds it begun.
        _ = mirror.experiment
    except Exception as error:  # noqa: BLE001 - as in Mirror: no mirror is no reason not to train
        log.warning("Weights & Biases could not be started: %s", shorten(str(error), 200))
        return None
    return mirror


def usable_mode(mode: Mode) -> Mode:
    """The mode that works here: ``online`` only with a key and a server that answers in seconds."""
    reason = why_offline() if mode == "online" else None
    if reason is None:
        return mode
    log.warning("Weights & Biases: %s; mirroring offline", reason)
    return "offline"
