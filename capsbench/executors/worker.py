"""A worker process: requests come by stdin, answers go by stdout, one JSON line each."""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from capsbench.environment.signals import pending_stop
from capsbench.executors.executor import Function


def serve(function: Function) -> None:
    """Carry out requests until stdin ends.

    The function has neither pipe: what it prints on stdout goes to stderr, and its stdin is empty,
    so that code that asks a question fails, and does not wait for ever. If the parent dies during a
    work, its end of the pipe closes: the work is then stopped as by SIGTERM.

    Args:
        function: Carries out a request.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    _in_thread(_read, _take_stdin(), requests)
    while (line := requests.get()) is not None:
        answer = function(json.loads(line))
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if pending_stop():  # a signal that interrupted nothing, or was caught: there is no second
            return


def stop_with_parent() -> None:
    """Stop this process as by SIGTERM when its stdin ends, which its parent holds open."""
    _in_thread(_read, _take_stdin(), queue.SimpleQueue())


def _in_thread(function: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


def _take_stdin() -> IO[str]:
    """Return the stream of stdin, and leave an empty one in its place."""
    stream = os.fdopen(os.dup(0), encoding="utf-8")
    with Path(os.devnull).open("rb") as empty:
        os.dup2(empty.fileno(), 0)
    return stream


def _read(stream: IO[str], requests: queue.SimpleQueue[str | None]) -> None:
    """Queue the lines of a stream; at its end stop the work in progress, if there is one."""
    for line in stream:
        requests.put(line)
    requests.put(None)
    os.kill(os.getpid(), signal.SIGTERM)
