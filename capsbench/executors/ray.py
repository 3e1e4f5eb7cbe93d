"""Works as tasks of a Ray cluster, an existing one or one on this machine."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import signal
import socket
import sys
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, Self

import capsbench
from capsbench import process
from capsbench.environment.signals import Stopped, stop_signals
from capsbench.errors import UserError
from capsbench.executors.executor import Ended, Executor, Function, Work
from capsbench.executors.group import NO_VARIABLES, run_group
from capsbench.executors.options import ExecutorOptions

ANSWER_SECONDS = 10
LOCAL = "local"  # Ray's name for a new cluster on this machine


class _Call(NamedTuple):
    """A work, with what a node needs to carry it out."""

    work: Work
    function: str
    command: tuple[str, ...]
    folder: Path
    marker: str
    working_directory: Path


class RayCluster(Executor):
    """Executor of a Ray cluster: each work is a task; Ray itself repeats none.

    A task takes the processor threads of its work, and a GPU, or a share of one, for each of its
    processes. A worker process of Ray carries out one task after the other; one that used a GPU
    ends with its task, so that the next one sees the device that Ray gives it.

    The nodes get this package as it is here, in a checkout or installed. Its dependencies must be
    there, and the runs folder under the same path.

    Args:
        function: Carries out a request; importable by its name.
        command: Command of a process that carries out one request, see `run_group`.
        options: Options: the address, the largest number of tasks at a time, and works per GPU.
        device: Kind of device, such as ``cuda``.
        folder: Runs folder.
        variables: Variables of the environment on the nodes.
    """

    def __init__(
        self,
        function: Function,
        command: Sequence[str],
        options: ExecutorOptions,
        device: str,
        folder: Path,
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> None:
        self._function = f"{function.__module__}:{function.__qualname__}"
        self._command = tuple(command)
        self._options = options
        self._uses_gpus = device == "cuda"
        self._folder = folder.resolve()
        self._variables = dict(variables)
        self._marker = f".ray-{uuid.uuid4().hex}"  # a node that does not see it is not shared
        self._queue: deque[Work] = deque()
        self._running: dict[Any, Work] = {}  # by reference of the task's result

    def __enter__(self) -> Self:
        """Start a cluster on this machine, or connect to an existing one.

        Raises:
            UserError: Ray is not installed, or the address does not answer.
        """
        try:
            import ray
        except ImportError:
            raise UserError(
                "the executor ray needs the package ray: pip install 'capsbench[ray]'"
            ) from None
        address = self._options.address or LOCAL
        arguments: dict[str, Any] = {"address": address, "log_to_driver": False}
        if address == LOCAL:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            arguments["include_dashboard"] = False
        else:
            arguments["runtime_env"] = {
                "py_modules": [str(path) for path in _package()],
                "env_vars": self._variables,
            }
        try:
            _require_answer(address)
            ray.init(**arguments, logging_level=logging.CRITICAL)
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"no Ray cluster answers at '{address}': {reason}; start one with 'ray start "
                "--head', give this machine the token of that cluster if it has one, or leave "
                "--address out for a cluster on this machine"
            ) from None
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / self._marker).touch()
        return self

    def submit(self, works: Sequence[Work]) -> None:
        """Queue works.

        Raises:
            UserError: No node of the cluster has the resources of a work.
        """
        nodes = _nodes()
        for work in works:
            self._require_room(work, nodes)
        self._queue.extend(works)
        self._start()

    def ended(self, timeout: float) -> list[Ended]:
        """Return the works that have ended, and start others in their place.

        Raises:
            UserError: A node does not see the runs folder, or did not get this package.
        """
        import ray

        references = list(self._running)
        if not references:
            return []
        ray.wait(references, timeout=timeout)  # until one has ended
        done, _ = ray.wait(references, num_returns=len(references), timeout=0)
        ended = [_result(self._running.pop(reference), reference) for reference in done]
        self._start()
        return ended

    def stop(self) -> None:
        """Interrupt all tasks, and wait until they have saved their states and ended."""
        import ray

        self._queue.clear()
        for reference in self._running:
            ray.cancel(reference)  # as Ctrl-C does
        if self._running:
            ray.wait(list(self._running), num_returns=len(self._running))
        self._running.clear()

    def __exit__(self, *_: object) -> None:
        """Stop, and end the cluster if it was started for this run."""
        import ray

        self.stop()
        (self._folder / self._marker).unlink(missing_ok=True)
        ray.shutdown()

    def _start(self) -> None:
        """Hand works to Ray, which starts each when a node has room for it."""
        import ray

        limit, nodes = self._options.workers, _nodes()
        while self._queue and (limit is None or len(self._running) < limit):
            work = self._queue.popleft()
            task = ray.remote(carry_out).options(
                name=work.title, max_retries=0, **self._resources(work, nodes)
            )
            call = _Call(
                work, self._function, self._command, self._folder, self._marker, Path.cwd()
            )
            self._running[task.remote(call)] = work

    def _resources(self, work: Work, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Return Ray's numbers; a work of more threads than any node has takes all of one."""
        cores = min(work.threads * work.devices, max(node.get("CPU", 0) for node in nodes))
        shares = 1 if work.devices > 1 else self._options.per_device
        return {
            "num_cpus": cores,
            "num_gpus": work.devices / shares if self._uses_gpus else 0,
        }

    def _require_room(self, work: Work, nodes: Sequence[Mapping[str, float]]) -> None:
        if not self._uses_gpus:
            return
        most = int(max(node.get("GPU", 0) for node in nodes))
        if most < work.devices:
            raise UserError(
                f"{work.title} takes {work.devices} GPUs of one node, and the largest node of this "
                f"Ray cluster has {most}; request fewer --devices, or add a node"
            )


def carry_out(call: _Call) -> Ended:
    """Carry out a work on a node of the cluster; a work on several devices in a group of its own.

    A signal lets the work save its state. Ray's handler of SIGTERM, which ends a process at once,
    returns afterwards.

    Raises:
        UserError: The runs folder is not shared with this node.
    """
    if not (call.folder / call.marker).is_file():
        raise UserError(
            f"{platform.node()}, a node of the Ray cluster, does not see {call.folder}; choose an "
            "--output on a disk that all nodes share"
        )
    if call.working_directory.is_dir():  # relative paths start there, such as the folder of data
        os.chdir(call.working_directory)
    work = call.work
    of_ray = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with stop_signals() as received:
            if work.processes > 1:
                return run_group([sys.executable, *call.command[1:]], work)
            process.set_up()  # before torch is imported
            return Ended(work.id, resolve_name(call.function)(work.request))
    except (KeyboardInterrupt, Stopped):
        return Ended(work.id, None, code=128 + (received or [signal.SIGINT])[0])
    finally:
        signal.signal(signal.SIGTERM, of_ray)


def _result(work: Work, reference: Any) -> Ended:
    """Return how a task ended."""
    import ray
    from ray.exceptions import RayError, RayTaskError, RuntimeEnvSetupError

    try:
        ended: Ended = ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        return Ended(work.id, None, reason=f"{type(error.cause).__name__}: {error.cause}")
    except RuntimeEnvSetupError as error:
        raise UserError(f"a node of the Ray cluster cannot set up capsbench: {error}") from None
    except RayError as error:  # the death of a worker process or a node
        reason = str(error).strip().partition("\n")[0]
        return Ended(work.id, None, reason=f"Ray: {type(error).__name__}: {reason}")
    return ended


def _require_answer(address: str) -> None:
    """Try to connect to an address; Ray itself would try for many minutes.

    Raises:
        OSError: There is no answer.
        ValueError: It is no address.
    """
    if address == "auto":  # Ray's word for the cluster of this machine, or of this variable
        address = os.environ.get("RAY_ADDRESS", "auto")
    if address in (LOCAL, "auto"):
        return
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not (colon and port.isdigit()):
        raise ValueError("expected host:port, such as 10.0.0.1:6379")
    socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()


def _nodes() -> list[Mapping[str, float]]:
    """Return the resources of each node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _package() -> list[Path]:
    """Return the folders that Ray ships: the package, through its links, and its table of names."""
    distribution = importlib.metadata.distribution("capsbench")
    (table,) = (file for file in distribution.files or () if file.name == "entry_points.txt")
    info = Path(str(distribution.locate_file(table))).parent
    return [Path(str(capsbench.__file__)).resolve().parent, info]
