"""Signals that stop a process: Ctrl-C, SIGTERM, the end of a terminal, and SLURM's requeueing.

A process has one owner of its signals. It is this module, unless another one has handlers before
(submitit, in a job of SLURM), which it keeps.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

# Windows has the first two. SLURM announces the end of a job by a user's signal (sbatch --signal).
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)
# Signals that follow the first one so closely are the same stop: a scheduler signals each process
# of a job, and the parent passes its own signal on.
SAME_STOP_SECONDS = 1.0


class Stopped(BaseException):
    """End of a work by a signal, after its resumable state was saved.

    As KeyboardInterrupt it is no Exception: it is no failure, and nothing recovers from it.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


@dataclass
class _Stop:
    """The signals of a process so far.

    Attributes:
        received: Their numbers.
        deferred: True while they interrupt nothing.
        at: Time of the first one, of a monotonic clock.
    """

    received: list[int] = field(default_factory=list)
    deferred: bool = False
    at: float = 0.0

    def handle(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.received:
            self.received.append(number)
            self.at = now
            if not self.deferred:
                raise KeyboardInterrupt
        elif now - self.at >= SAME_STOP_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


_active: list[_Stop] = []  # at most one


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt at the first signal; a later one ends the process at once.

    A signal that is ignored (``nohup``, a job in the background) or that has another handler keeps
    it. Without effect inside of itself, and in other threads than the first, which alone receives
    signals.

    Yields:
        The numbers of the signals that were received.
    """
    if _active:
        yield _active[0].received
        return
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop.received
        return
    numbers = [getattr(signal, name) for name in NAMES if name in dir(signal)]
    replaced = {
        number: signal.signal(number, stop.handle)
        for number in numbers
        if signal.getsignal(number) in DEFAULTS
    }
    _active.append(stop)
    try:
        yield stop.received
    finally:
        _active.clear()
        for number, handler in replaced.items():
            signal.signal(number, handler)


@contextmanager
def deferred_stop() -> Iterator[None]:
    """Let a signal interrupt nothing inside of `stop_signals`: `pending_stop` gives its number.

    A later signal still ends the process at once.
    """
    stop = _active[0] if _active else _Stop()
    stop.deferred = True
    try:
        yield
    finally:
        stop.deferred = False


def pending_stop() -> int:
    """Return the number of the first signal that was received, 0 if there was none."""
    received = _active[0].received if _active else []
    return received[0] if received else 0


def raise_pending_stop() -> None:
    """Interrupt a process whose signal was deferred until a work was complete.

    Raises:
        KeyboardInterrupt: A signal was received.
    """
    if pending_stop():
        raise KeyboardInterrupt


@contextmanager
def signals_of_caller() -> Iterator[None]:
    """Stop a call in another program in an orderly way, then let that program have the signal.

    Raises:
        KeyboardInterrupt: It was SIGINT, or another signal that the program survives.
    """
    received: list[int] = []
    try:
        with stop_signals() as received:
            yield
    except (KeyboardInterrupt, Stopped):
        if received:
            signal.raise_signal(received[0])  # its default ends the process
        raise KeyboardInterrupt from None
