"""Trajectory: regular validation, weights of the selection rules, the resumable state, the stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from capsbench.data.batches import SplitName
from capsbench.data.images import ImageDataModule
from capsbench.environment.process_group import OtherProcessFailedError
from capsbench.environment.signals import Stopped, deferred_stop
from capsbench.training.presence_gradients import zero_gradient_shares
from capsbench.training.schedule import learning_rate_factor
from capsbench.training.selection import RULES, Row, accuracy_column
from capsbench.training.state_file import StateFile
from capsbench.training.stopping import StopCheck
from capsbench.training.task import Task

Weights = dict[str, Tensor]


class Diverged(Exception):
    """Error for a loss that is infinite or NaN."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss is not finite at step {step}")
        self.step = step


class Trajectory(Callback):
    """Validates at regular steps and keeps rows, selected weights and the resumable state.

    Rows, weights and state are saved together in one file by an atomic rename, so that a training
    killed at any time resumes with the same result as an uninterrupted one. The trainer needs the
    plugin `StateFile`. After a signal the training saves the state of the step, and ends.

    Args:
        data: Data module.
        every: Steps between validations; the last step is always validated.
        save_every: Steps between saved states.
        state: File of the resumable state.
        on_rows: Called with all rows when there is a new one.
        follow: Test splits whose accuracy is logged in the rows; it selects no weights.

    Attributes:
        zero_gradient: Share of the presences of each layer that have no gradient, at the last
            validation; see `capsbench.training.presence_gradients`.
    """

    def __init__(
        self,
        data: ImageDataModule,
        *,
        every: int,
        save_every: int,
        state: Path,
        on_rows: Callable[[list[Row]], None],
        follow: Sequence[SplitName] = (),
    ) -> None:
        self.data = data
        self.follow = follow
        self.every = every
        self.save_every = save_every
        self.state = state
        self.on_rows = on_rows
        self.rows: list[Row] = []
        self.chosen: dict[str, tuple[int, Weights]] = {}
        self.seconds = 0.0
        self.losses: Tensor | None = None
        self.zero_gradient: dict[str, float] = {}
        self._since = time.perf_counter()
        self._stop = StopCheck()
        self._deferred = ExitStack()

    def state_dict(self) -> dict[str, Any]:
        """Return rows, weights, elapsed time and the losses since the last validation."""
        return {
            "rows": self.rows,
            "chosen": self.chosen,
            "seconds": self.elapsed,
            "losses": self.losses,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a saved state."""
        self.rows = state_dict["rows"]
        self.chosen = state_dict["chosen"]
        self.seconds = state_dict["seconds"]
        self.losses = state_dict["losses"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; from here on a signal takes effect between steps."""
        self._since = time.perf_counter()
        self._deferred.enter_context(deferred_stop())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let signals interrupt again."""
        self._deferred.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Let signals interrupt again."""
        self._deferred.close()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validate and save at their steps, and stop after a signal.

        Raises:
            Diverged: A loss was not finite.
            OSError: The state cannot be written; an earlier one is unchanged.
            OtherProcessFailedError: The first process of the group cannot write it.
            Stopped: A process of the training received a signal; the state was saved.
        """
        assert isinstance(pl_module, Task)
        step, steps = trainer.global_step, trainer.max_steps
        loss = outputs["loss"].detach().float()
        # [sum, count] of the losses since the last validation, on the device: no synchronization.
        row = torch.stack([loss, torch.ones_like(loss)])
        self.losses = row if self.losses is None else self.losses.to(row) + row
        validate = step % self.every == 0 or step == steps
        stop = 0 if step == steps else self._stop(trainer)
        save = step < steps and (step % self.save_every == 0 or stop > 0)
        if validate or save:  # a state saved after a non-finite step would lose the step's number
            self._stop_if_diverged(trainer, pl_module)
        if validate:
            self._validate(trainer, pl_module, step)
        if save:
            self._save(trainer)
        if stop:
            raise Stopped(stop)

    def _save(self, trainer: Trainer) -> None:
        """Save the state; if the first process cannot, no process of the group waits for it."""
        file = trainer.strategy.checkpoint_io
        assert isinstance(file, StateFile)
        trainer.save_checkpoint(self.state)
        failed = trainer.strategy.broadcast(file.error is not None)
        if file.error is not None:
            raise file.error
        if failed:
            raise OtherProcessFailedError("the first process could not save the state")

    def _stop_if_diverged(self, trainer: Trainer, task: Task) -> None:
        assert task.first_nonfinite_step is not None
        first = int(trainer.strategy.reduce(task.first_nonfinite_step, reduce_op="min"))
        if first < torch.iinfo(torch.int64).max:
            raise Diverged(first)

    def _validate(self, trainer: Trainer, task: Task, step: int) -> None:
        assert self.losses is not None
        loss, accuracy = self._score(trainer, task, "validation")
        train_loss, batches = _sum(trainer, self.losses).tolist()
        if not math.isfinite(loss):
            raise Diverged(step)
        self.losses = None
        self.zero_gradient = self._zero_gradient(trainer, task)
        factor = learning_rate_factor(task.recipe, step - 1, trainer.max_steps)
        row = {
            "step": float(step),
            "train_loss": train_loss / batches,
            "validation_loss": loss,
            "validation_accuracy": accuracy,
            **{accuracy_column(name): self._score(trainer, task, name)[1] for name in self.follow},
            "learning_rate": task.learning_rate * factor,
            "seconds": round(self.elapsed, 3),
        }
        self.rows.append(row)
        for rule, select in RULES.items():
            if select(self.rows) == step:
                self.chosen[rule] = (step, _copy(task))
        if trainer.is_global_zero:
            names = ("validation_loss", "validation_accuracy", *map(accuracy_column, self.follow))
            curves = {name: row[name] for name in names}
            if self.zero_gradient:
                curves["zero_gradient"] = max(self.zero_gradient.values())
            for logger in trainer.loggers:  # directly: task.log would only keep every 50th step
                logger.log_metrics(curves, step - 1)  # as Lightning counts
            self.on_rows(self.rows)

    def _score(self, trainer: Trainer, task: Task, split: SplitName) -> tuple[float, float]:
        """Return mean loss and accuracy on a split, over all processes."""
        loss, correct, count = _sum(trainer, self._sums(trainer, task, split)).tolist()
        expected = len(self.data.split(split))
        if count != expected:
            raise RuntimeError(f"expected {expected} {split} images, got {count:g}")
        return loss / count, correct / count

    def _zero_gradient(self, trainer: Trainer, task: Task) -> dict[str, float]:
        """Return the shares of presences without gradient, of the first validation images."""
        task.eval()
        batch = next(iter(self.data.evaluation.batches("validation", task.device)), None)
        shares = {}
        if batch is not None:  # else a process without a share of the images
            with trainer.precision_plugin.val_step_context():
                shares = zero_gradient_shares(task.model, batch, task.progress)
        task.train()
        return shares

    @torch.no_grad()
    def _sums(self, trainer: Trainer, task: Task, split: SplitName) -> Tensor:
        """Sum loss, correct predictions and images over this process's share of a split: (3,)."""
        task.eval()
        total = torch.zeros(3, device=task.device)
        for batch in self.data.evaluation.batches(split, task.device):
            with trainer.precision_plugin.val_step_context():
                scores = task.score(batch)
            count = torch.full_like(scores.loss, scores.images)
            total += torch.stack([scores.loss, scores.correct.to(count), count])
        task.train()
        return total

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, including earlier parts."""
        return self.seconds + time.perf_counter() - self._since


def _sum(trainer: Trainer, values: Tensor) -> Tensor:
    """Sum over all processes."""
    total: Tensor = trainer.strategy.reduce(values, reduce_op="sum")
    return total


def _copy(task: Task) -> Weights:
    return {
        key: value.detach().to("cpu", copy=True) for key, value in task.model.state_dict().items()
    }
