"""Works in this process, one after the other: for a debugger, and for the processes of a group."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from capsbench.executors.executor import Ended, Executor, Function, Work
from capsbench.executors.group import run_group


class Here(Executor):
    """Executor without processes of its own, except for a work on several devices.

    Args:
        function: Carries out a request.
        command: Command of a process that carries out one request, see `run_group`.
    """

    def __init__(self, function: Function, command: Sequence[str]) -> None:
        self._function = function
        self._command = command
        self._queue: deque[Work] = deque()

    def submit(self, works: Sequence[Work]) -> None:
        """Queue works."""
        self._queue.extend(works)

    def ended(self, timeout: float) -> list[Ended]:
        """Carry out the next work."""
        if not self._queue:
            return []
        work = self._queue.popleft()
        if work.processes > 1:
            return [run_group(self._command, work)]
        return [Ended(work.id, self._function(work.request))]

    def stop(self) -> None:
        """Forget what is queued; nothing runs between two calls."""
        self._queue.clear()
