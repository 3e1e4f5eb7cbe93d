"""Signals that stop a process: Ctrl-C, a scheduler's SIGTERM, and the end of a terminal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt at the first signal; the second one ends the process at once.

    A signal that is ignored (``nohup``, a job in the background) or that has another handler keeps
    it. Without effect in other threads than the first, which alone receives signals.

    Yields:
        The numbers of the signals that were received.
    """
    received: list[int] = []

    def stop(number: int, _frame: Any) -> None:
        if received:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        received.append(number)
        raise KeyboardInterrupt

    replaced = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in NAMES if name in dir(signal)]
        replaced = {
            number: signal.signal(number, stop)
            for number in numbers
            if signal.getsignal(number) in DEFAULTS
        }
    try:
        yield received
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
