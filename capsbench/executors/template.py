"""A template of worker processes: it imports all that they need once, and forks.

A worker that imports torch and Lightning itself takes seconds of processor time. A forked one takes
milliseconds. The template computes nothing, so that it has neither threads nor a device in use, as
`fork` needs. Only Linux forks: on macOS libraries of the system break in forked processes, and
Windows has no `fork`. There each worker is started as a process of its own.
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
from subprocess import PIPE, Popen
from typing import IO, Self

from capsbench.errors import UserError
from capsbench.executors.processes import start, was_killed

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
    """The parent's side of a template, and the source of workers; a context manager, which ends it.

    Args:
        command: Command of a worker, see `capsbench.executors.worker`. With ``--template`` and the
            number of a socket it is the command of the template, see `become_worker`.
        imports: Modules that the template imports first, beside those of its command.
    """

    def __init__(self, command: Sequence[str], imports: Sequence[str] = ()) -> None:
        self.command = command
        self._imports = imports
        self._socket: socket.socket | None = None
        self._process: Popen[str] | None = None
        self._lock = threading.Lock()  # of a request and its answer

    def __enter__(self) -> Self:
        """Return the template, which starts with its first worker, or ahead by `start`."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the template; its workers stay."""
        if self._process is not None:
            self._process.terminate()  # it may still be importing
            self._close()

    def start(self) -> None:
        """Start the template, unless it runs, so that it imports while its parent plans."""
        if self._process is not None or not CAN_FORK:
            return
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            number = other.fileno()
            command = [*self.command, "--template", str(number), *self._imports]
            self._process = start(command, {}, pass_fds=(number,))

    def new_worker(self, variables: Mapping[str, str]) -> ForkedProcess | Popen[str]:
        """Return a new worker; a template that was killed is replaced.

        Args:
            variables: Variables of the environment that differ from this process's.

        Raises:
            UserError: The template ends by itself.
        """
        if not CAN_FORK:
            return start(self.command, variables, stdin=PIPE, stdout=PIPE)
        while True:
            self.start()
            try:
                return self._fork(variables)
            except ConnectionError:
                if not was_killed(self._close()):
                    raise UserError(
                        f"no worker process can be started ({' '.join(self.command)}): see its "
                        "message above, or carry the jobs out in this process (--workers 0)"
                    ) from None

    def wait(self, pid: int) -> int | None:
        """Wait for the end of a worker, see `ForkedProcess.wait`."""
        try:
            with self._lock:
                return self._answer(str(pid).encode())
        except OSError:  # the template has died, and with it the knowledge
            return None

    def _fork(self, variables: Mapping[str, str]) -> ForkedProcess:
        child_in, stdin = os.pipe()
        stdout, child_out = os.pipe()
        try:
            with self._lock:
                request = json.dumps(dict(variables)).encode()
                pid = self._answer(request, (child_in, child_out))
        except OSError:
            os.close(stdin)
            os.close(stdout)
            raise
        finally:
            os.close(child_in)
            os.close(child_out)
        writer = os.fdopen(stdin, "w", encoding="utf-8")
        return ForkedProcess(self, pid, writer, os.fdopen(stdout, encoding="utf-8"))

    def _close(self) -> int:
        """Wait for the end of the process; return its exit code."""
        assert self._process is not None and self._socket is not None
        self._socket.close()
        code = self._process.wait()
        self._process = self._socket = None
        return code

    def _answer(self, request: bytes, files: Sequence[int] = ()) -> int:
        if self._socket is None:
            raise ConnectionResetError("the template of worker processes has ended")
        socket.send_fds(self._socket, [request], files)
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
