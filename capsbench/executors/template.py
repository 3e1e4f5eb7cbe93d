"""A template of worker processes: it imports all that they need once, and forks.

A worker that imports torch and Lightning itself takes seconds of processor time. A forked one takes
milliseconds. The template computes nothing, so that it has neither threads nor a device in use, as
`fork` needs. Only Linux has it: on macOS libraries of the system break in forked processes, and
Windows has no `fork`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from subprocess import Popen
from typing import IO

from capsbench.executors.processes import start

CAN_FORK = sys.platform == "linux"
MESSAGE = 65_536  # bytes; a message is one packet


class ForkedProcess:
    """A worker that a template has forked, as far as `subprocess.Popen` is needed."""

    def __init__(self, template: Template, pid: int, stdin: IO[str], stdout: IO[str]) -> None:
        self.pid = pid
        self.stdin: IO[str] | None = stdin
        self.stdout: IO[str] | None = stdout
        self._template = template
        self._lock = threading.Lock()  # threads can wait at the same time; the code comes once
        self._ended = False
        self._code: int | None = None

    def wait(self) -> int | None:
        """Wait for the end; return the exit code as `subprocess` does, None if it is not known."""
        with self._lock:
            if not self._ended:
                self._code = self._template.wait(self.pid)
                self._ended = True
            return self._code

    def terminate(self) -> None:
        """Send SIGTERM, unless it has ended."""
        if not self._ended:
            with suppress(ProcessLookupError):  # it has ended, and its template before it
                os.kill(self.pid, signal.SIGTERM)


def has_ended(process: ForkedProcess | Popen[str]) -> bool:
    """Return True if an idle worker, which writes nothing, has ended.

    A forked one is no child of this process; at its end its pipe is closed.
    """
    if isinstance(process, ForkedProcess):
        assert process.stdout is not None
        pipe = select.poll()
        pipe.register(process.stdout, select.POLLIN)
        return bool(pipe.poll(0))
    return process.poll() is not None


class Template:
    """The parent's side of a template.

    Args:
        command: Command of the template, to which the number of its socket is added, see
            `become_worker`.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            number = other.fileno()
            self._process = start([*command, str(number)], {}, pass_fds=(number,))
        self._lock = threading.Lock()  # of a request and its answer

    def fork(self, variables: Mapping[str, str]) -> ForkedProcess:
        """Return a new worker.

        Args:
            variables: Variables of the environment that differ from this process's.

        Raises:
            ConnectionError: The template has died.
        """
        child_in, stdin = os.pipe()
        stdout, child_out = os.pipe()
        try:
            with self._lock:
                request = json.dumps(dict(variables)).encode()
                socket.send_fds(self._socket, [request], [child_in, child_out])
                pid = self._answer()
        except OSError:
            os.close(stdin)
            os.close(stdout)
            raise
        finally:
            os.close(child_in)
            os.close(child_out)
        writer = os.fdopen(stdin, "w", encoding="utf-8")
        return ForkedProcess(self, pid, writer, os.fdopen(stdout, encoding="utf-8"))

    def wait(self, pid: int) -> int | None:
        """Wait for the end of a worker, see `ForkedProcess.wait`."""
        try:
            with self._lock:
                self._socket.send(str(pid).encode())
                return self._answer()
        except OSError:  # the template has died, and with it the knowledge
            return None

    def close(self) -> int:
        """End the template; its workers stay. Return its exit code."""
        self._socket.close()
        return self._process.wait()

    def _answer(self) -> int:
        answer = self._socket.recv(MESSAGE)
        if not answer:
            raise ConnectionResetError("the template of worker processes has died")
        return int(answer)


def become_worker(number: int) -> bool:
    """Serve as a template; return in each forked worker, and at the end.

    In a worker, stdin and stdout are the pipes of its parent.

    Args:
        number: Descriptor of the socket.

    Returns:
        True in a worker, False at the end of the template.
    """
    with socket.socket(fileno=number) as requests:
        while True:
            message, files, _, _ = socket.recv_fds(requests, MESSAGE, 2)
            if not message:
                return False
            if not files:
                _, status = os.waitpid(int(message), 0)
                requests.send(str(os.waitstatus_to_exitcode(status)).encode())
                continue
            pid = os.fork()
            if pid == 0:
                break
            for file in files:
                os.close(file)
            requests.send(str(pid).encode())
    os.setpgid(0, 0)  # as `processes.start` does
    os.environ |= json.loads(message)
    for file, standard in zip(files, (0, 1), strict=True):
        os.dup2(file, standard)
        os.close(file)
    return True
