"""A profile of some steps of a training: what each operation takes, as a trace and as a table."""

from __future__ import annotations

import os
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer
from torch.profiler import ProfilerAction, ProfilerActivity, profile

from capsbench.files.atomic import write_folder
from capsbench.training.task import Task

TRACE, TABLE = "trace.json.gz", "operations.txt"
SKIPPED, PROFILED = 5, 5  # steps; the first ones also compile, choose kernels and claim memory
OPERATIONS = 30  # in the table


class Profile(Callback):
    """Profiles a handful of steps, from the fetching of a batch to the update of the weights.

    A look at the validation split that comes between two of them is part of the profile.
    Where fewer steps are left than are skipped and profiled, the last ones are profiled. What is
    learned stays the same, bit for bit, but the profiled steps take longer.

    Args:
        folder: Where the trace goes (Chrome's format) and the table of the most expensive
            operations, as soon as the steps are done; of a group of processes, by the first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps = range(0)  # counted from 1
        self._running: profile | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the steps among those that are left: all, unless a training goes on."""
        assert isinstance(pl_module, Task)
        done, end = trainer.global_step, pl_module.recipe.steps
        before = max(done, min(done + SKIPPED, end - PROFILED))
        self.steps = range(before + 1, min(before + PROFILED, end) + 1)
        self._start_before_the_first(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Count the step; start before the first, finish after the last."""
        if self._running is None:
            self._start_before_the_first(trainer)
        elif trainer.global_step == self.steps[-1]:
            self._finish(trainer)
        else:
            self._running.step()

    def on_exception(self, trainer: Trainer, *_: object) -> None:
        """Drop the profile of a training that ends among the steps: it diverged, or was stopped."""
        if self._running is not None:
            self._running.stop()  # there can be but one in a process

    def _start_before_the_first(self, trainer: Trainer) -> None:
        if trainer.global_step + 1 != self.steps[0] or not trainer.is_global_zero:
            return
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it announces itself on stderr
        activities = [ProfilerActivity.CPU]
        if trainer.strategy.root_device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        # A schedule, if only of one action, has each step marked in the trace.
        self._running = profile(
            activities=activities, schedule=lambda _: ProfilerAction.RECORD, record_shapes=True
        )
        self._running.start()

    def _finish(self, trainer: Trainer) -> None:
        assert self._running is not None
        running, self._running = self._running, None
        running.stop()  # waits for the device
        device, first, last = trainer.strategy.root_device.type, self.steps[0], self.steps[-1]
        table = running.key_averages().table(
            sort_by="self_cuda_time_total" if device == "cuda" else "self_cpu_time_total",
            row_limit=OPERATIONS,
            max_name_column_width=70,
        )
        head = f"steps {first} to {last} of {trainer.max_steps} on {device}, by self time\n\n"
        with write_folder(self.folder) as folder:
            running.export_chrome_trace(str(folder / TRACE))
            (folder / TABLE).write_text(head + table, encoding="utf-8")
