"""A work on several devices: a group of processes, which this process starts and watches."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from signal import SIGTERM
from subprocess import PIPE, Popen

from capsbench.environment.process_group import ProcessGroup, meeting_port
from capsbench.environment.signals import pending_stop
from capsbench.environment.variables import whole_number
from capsbench.executors.executor import Ended, Work
from capsbench.executors.processes import ON_WINDOWS, reap, start

NO_VARIABLES: Mapping[str, str] = {}
LOOK_EVERY = 0.1  # seconds between two looks at the processes
# Seconds after the first end of a process in which the others end by themselves: they save a state,
# or lose the connection to it. One that waits for it would wait for ever.
GRACE = 10.0


def run_group(
    command: Sequence[str],
    work: Work,
    variables: Mapping[str, str] = NO_VARIABLES,
    on_start: Callable[[Popen[str]], None] = lambda _: None,
) -> Ended:
    """Carry out a work in a group of processes, and wait for it.

    Under torchrun or srun, each process of their group calls this function, and starts one process
    of the new group. Otherwise this process starts those of its machine. A signal is passed on to
    all of them. When one fails, the others are ended.

    Args:
        command: Command to which the path of a request is added. Each process that it starts
            carries out the request, and writes its answer to `answer_file`. Its stdin ends when
            this process dies, see `capsbench.executors.worker.stop_with_parent`.
        work: The work.
        variables: Variables of the environment that differ from this process's.
        on_start: Called with each process, for example to stop it later.

    Returns:
        The answer of the first process that failed, else that of the first process of the group.
    """
    group = ProcessGroup.current()
    if work.processes == 1:
        ranks = [NO_VARIABLES]
    else:
        ranks = _ranks(work) if group is None else [group.torch_variables(work.id)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        requests: dict[Popen[str], Path] = {}
        processes: list[Popen[str]] = []
        stack.callback(_kill, processes)
        for number, rank in enumerate(ranks):
            path = Path(folder, f"{number}.json")
            path.write_text(work.request, encoding="utf-8")
            process = start([*command, str(path)], {**variables, **rank}, stdin=PIPE)
            requests[process] = path
            processes.append(process)
            on_start(process)
        try:
            deciding = _wait(processes)
        except KeyboardInterrupt:
            for process in processes:
                process.send_signal(SIGTERM if ON_WINDOWS else pending_stop() or SIGTERM)
            _wait(processes)
            raise
        answer = answer_file(requests[deciding])
        if not answer.is_file():
            return Ended(work.id, None, deciding.returncode)
        return Ended(work.id, answer.read_text(encoding="utf-8"))


def answer_file(request: Path) -> Path:
    """Return the file for the answer of a process, beside the file of its request."""
    return request.with_suffix(".answer")


def _ranks(work: Work) -> list[Mapping[str, str]]:
    """Return the variables of each process of this machine, named as torchrun's."""
    if work.nodes == 1:  # whatever the environment says: several groups can run at a time
        node, address, port = 0, "127.0.0.1", str(_free_port())
    else:
        node, address = whole_number("NODE_RANK"), os.environ["MASTER_ADDR"]
        port = meeting_port(work.id, ["MASTER_PORT"])
    common = {
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
        "WORLD_SIZE": str(work.processes),
        "LOCAL_WORLD_SIZE": str(work.devices),
        "GROUP_RANK": str(node),
    }
    return [
        {**common, "LOCAL_RANK": str(local), "RANK": str(node * work.devices + local)}
        for local in range(work.devices)
    ]


def _free_port() -> int:
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", 0))
        port: int = connection.getsockname()[1]
    return port


def _wait(processes: Sequence[Popen[str]]) -> Popen[str]:
    """Wait for the end of all processes; return the first that failed, else the first one."""
    first_failed, deadline = None, float("inf")
    while running := [process for process in processes if process.poll() is None]:
        failed = [process for process in processes if process.returncode]
        if first_failed is None and failed:
            first_failed = failed[0]
        if deadline == float("inf") and (failed or processes[0].returncode is not None):
            deadline = time.monotonic() + GRACE
        if time.monotonic() > deadline:
            _kill(running)
        time.sleep(LOOK_EVERY)
    failed = [process for process in processes if process.returncode]
    return first_failed or (failed or processes)[0]


def _kill(processes: Sequence[Popen[str]]) -> None:
    """Kill the processes that have not ended, and wait for them."""
    for process in processes:
        process.kill()  # no effect on one that has ended
    for process in processes:
        reap(process)
