"""Profile of some steps of a training: time per operation as a trace and as a table."""

from __future__ import annotations

import os
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer
from torch.profiler import ProfilerAction, ProfilerActivity, profile

from capsbench.files.atomic import write_folder

TRACE, TABLE = "trace.json.gz", "operations.txt"
SKIPPED, PROFILED = 5, 5  # steps; the first ones also compile, select kernels and allocate memory
OPERATIONS = 30  # in the table


class Profile(Callback):
    """Profiles a few steps, from fetching the batch to updating the weights.

    A validation between two of these steps is part of the profile. If fewer steps remain than are
    skipped and profiled, the last ones are profiled. The results of the training do not change; the
    profiled steps take longer.

    Args:
        folder: Folder for the trace (Chrome's format) and the table of the most expensive
            operations, written after the last profiled step by the first process of a group.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps = range(0)  # counted from 1
        self._running: profile | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the steps among the remaining ones."""
        done, end = trainer.global_step, trainer.max_steps
        before = max(done, min(done + SKIPPED, end - PROFILED))
        self.steps = range(before + 1, min(before + PROFILED, end) + 1)
        self._start_before_the_first(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Start before the first profiled step and finish after the last."""
        if self._running is None:
            self._start_before_the_first(trainer)
        elif trainer.global_step == self.steps[-1]:
            self._finish(trainer)
        else:
            self._running.step()

    def on_exception(self, trainer: Trainer, *_: object) -> None:
        """Discard the profile of a training that ends during the profiled steps."""
        if self._running is not None:
            self._running.stop()  # a process can have only one profiler

    def _start_before_the_first(self, trainer: Trainer) -> None:
        if trainer.global_step + 1 != self.steps[0] or not trainer.is_global_zero:
            return
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # suppresses its messages on stderr
        activities = [ProfilerActivity.CPU]
        if trainer.strategy.root_device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        # With a schedule, the trace marks each step.
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
