"""A running job, as its lease states it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Self

from capsbench.errors import printable
from capsbench.files.holder import Holder


@dataclass(frozen=True)
class RunningJob:
    """A job that a process is working on; what it does not state is None.

    Attributes:
        token: Identity of the lease.
        task: The job in a few words.
        host: Name of the machine.
        pid: Number of the process there.
        since: Time at which it began, by the clock of its machine (Unix time, seconds).
        device: Device, such as ``cuda:1``.
        step: Finished steps: of the optimizer, or parts of a measure.
        steps: All steps.
        steps_per_second: Speed at present.
        note: A few words, such as the validation accuracy so far.
    """

    token: str
    task: str
    host: str
    pid: int
    since: float
    device: str | None = None
    step: int | None = None
    steps: int | None = None
    steps_per_second: float | None = None
    note: str | None = None

    @classmethod
    def of(cls, holder: Holder) -> Self:
        """Return the job that the holder of a lease is working on.

        Args:
            holder: The holder. Progress of other types is left out: any process can write a file.
        """
        progress = holder.progress

        def number(name: str) -> float | None:
            value = progress.get(name)
            return value if isinstance(value, float | int) and isfinite(value) else None

        def text(name: str) -> str | None:
            value = progress.get(name)
            return printable(value) if isinstance(value, str) and value else None

        step, steps = number("step"), number("steps")
        return cls(
            token=holder.token,
            task=printable(holder.task),
            host=printable(holder.host),
            pid=holder.pid,
            since=holder.since,
            device=text("device"),
            step=None if step is None else int(step),
            steps=None if steps is None else int(steps),
            steps_per_second=number("steps_per_second"),
            note=text("note"),
        )

    @property
    def seconds_left(self) -> float | None:
        """Expected seconds to the last step; None if they are not known."""
        if not self.steps_per_second or self.step is None or self.steps is None:
            return None
        return max(self.steps - self.step, 0) / self.steps_per_second

    @property
    def share(self) -> float:
        """Share of the steps that are done; 0 if it is not known."""
        return min((self.step or 0) / self.steps, 1.0) if self.steps else 0.0

    @property
    def place(self) -> str:
        """Host and device."""
        return self.host if self.device is None else f"{self.host}, {self.device}"
