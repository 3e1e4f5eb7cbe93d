"""A worker process: requests come by stdin, answers go by stdout, one JSON line each."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from typing import IO

from capsbench.executors.executor import Function


def serve(function: Function) -> None:
    """Carry out requests until stdin ends.

    What the function prints on stdout goes to stderr, since stdout carries the answers. If the
    parent dies during a work, its end of stdin closes: the work is then stopped as by SIGTERM.

    Args:
        function: Carries out a request.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, requests), daemon=True).start()
    while (line := requests.get()) is not None:
        answer = function(json.loads(line))
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _read(stream: IO[str], requests: queue.SimpleQueue[str | None]) -> None:
    """Queue the lines of a stream; at its end stop the work in progress, if there is one."""
    for line in stream:
        requests.put(line)
    requests.put(None)
    os.kill(os.getpid(), signal.SIGTERM)
