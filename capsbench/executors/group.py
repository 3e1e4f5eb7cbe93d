"""A work on several devices: a group of processes that Lightning or the cluster starts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import Popen

from capsbench.executors.executor import Ended, Work
from capsbench.executors.processes import start

NO_VARIABLES: Mapping[str, str] = {}


def run_group(
    command: Sequence[str],
    work: Work,
    variables: Mapping[str, str] = NO_VARIABLES,
    on_start: Callable[[Popen[str]], None] = lambda _: None,
) -> Ended:
    """Carry out a work in a group of processes, and wait for it.

    The group gets a separate parent process: Lightning's launcher starts the other processes by
    running their parent's command again, so that command must be this one work.

    Args:
        command: Command to which the path of a request is added. Each process that it starts
            carries out the request, and writes its answer to `answer_file`.
        work: The work.
        variables: Variables of the environment that differ from this process's.
        on_start: Called with the process, for example to stop it later.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "request.json")
        path.write_text(work.request, encoding="utf-8")
        with start([*command, str(path)], variables, piped=False) as process:
            on_start(process)
            try:
                code = process.wait()
            except KeyboardInterrupt:
                process.terminate()  # its handler stops the others of the group
                process.wait()
                raise
        answer = answer_file(path, process.pid)
        if not answer.is_file():
            return Ended(work.id, None, code)
        return Ended(work.id, answer.read_text(encoding="utf-8"))


def answer_file(request: Path, process: int) -> Path:
    """Return the file for the answer of a process, beside the file of its request."""
    return request.with_suffix(f".{process}.answer")
