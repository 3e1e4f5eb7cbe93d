"""Works as jobs of SLURM, in arrays, by submitit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from capsbench.errors import UserError
from capsbench.executors.executor import Ended, Executor, Work
from capsbench.executors.group import NO_VARIABLES
from capsbench.executors.options import ExecutorOptions
from capsbench.executors.room import Place, Room
from capsbench.executors.slurm_job import STOP, SlurmJob

if TYPE_CHECKING:
    import submitit

FOLDER = ".slurm"  # in the runs folder: requests, answers and output of submitit's jobs
MAX_ARRAY = 1000  # jobs of an array; SLURM's default limit (MaxArraySize) is one more
LIMITS = 20  # times that a job reaches its time limit before it is given up
# Seconds between two looks for answers in the folder, and between two requests to the controller.
LOOK_EVERY = {"local": 0.1, "slurm": 1.0}
STATES_EVERY = 10.0
ENDED_STATES = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT", "GONE"),
)


@dataclass(eq=False)
class _Running:
    """A submitted work, with its job, and its place on this machine if that is no cluster."""

    work: Work
    job: submitit.Job[Ended]
    place: Place | None = None


class SlurmArrays(Executor):
    """Executor of SLURM: the works of one call with equal resources are a job array, or several.

    Jobs survive this process. A work whose job ends without an answer has died.

    Args:
        command: Command of a process that carries out one request, see `run_group`. The path of
            its program must be that on the nodes.
        options: Options; ``workers`` limits the jobs of an array that run at a time.
        device: Kind of device: on ``cuda`` a job takes one GPU per process of its work.
        folder: Runs folder, shared with the nodes.

    Attributes:
        name: Name of all jobs of this executor in SLURM's queue.
    """

    def __init__(
        self, command: Sequence[str], options: ExecutorOptions, device: str, folder: Path
    ) -> None:
        self._command = tuple(command)
        self._options = options.slurm
        self._workers = options.workers
        self._device = device
        self.name = f"capsbench-{uuid.uuid4().hex[:8]}"
        self._folder = folder.resolve() / FOLDER / self.name
        self._batches = count(1)
        self._running: dict[str, _Running] = {}
        self._died = False
        self._last_look = self._last_states = 0.0
        self._had_ended: set[str] = set()  # jobs, at the last request to the controller
        self._queue: deque[Work] = deque()  # of this machine; that of a cluster is SLURM's
        self._room: Room | None = None

    @property
    def _is_local(self) -> bool:
        return self._options.cluster == "local"

    def __enter__(self) -> Self:
        """Check that submitit and SLURM are there.

        Raises:
            UserError: One is not.
        """
        try:
            import submitit  # noqa: F401 - is it installed?
        except ImportError:
            raise UserError(
                "the executor slurm needs the package submitit: pip install 'capsbench[slurm]'"
            ) from None
        if self._is_local:
            self._room = Room.of_machine("cuda" if self._device == "cuda" else "cpu", 1)
        elif missing := [
            name for name in ("sbatch", "squeue", "scancel") if not shutil.which(name)
        ]:
            raise UserError(
                f"SLURM is not available here: there is no command '{missing[0]}'; start the run "
                "on a login node, or try it on this machine with --slurm cluster=local"
            )
        return self

    def submit(self, works: Sequence[Work]) -> None:
        """Queue works.

        Raises:
            UserError: SLURM refuses the jobs.
        """
        if self._is_local:
            self._queue.extend(works)
            self._start()
            return
        for _, same in groupby(sorted(works, key=_resources), key=_resources):
            equal = list(same)
            for first in range(0, len(equal), MAX_ARRAY):
                self._submit(equal[first : first + MAX_ARRAY])

    def ended(self, timeout: float) -> list[Ended]:
        """Return the works that have ended since the last call."""
        deadline = time.monotonic() + timeout
        pause = LOOK_EVERY[self._options.cluster]
        while True:
            ended: list[Ended] = []
            if time.monotonic() >= self._last_look + pause:
                self._last_look = time.monotonic()
                ended = self._look()
                self._start()
            if ended or time.monotonic() >= deadline:
                return ended
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))

    def stop(self) -> None:
        """Cancel what waits, let what runs save its state, and wait until it has ended."""
        self._queue.clear()
        if self._is_local:
            for running in self._running.values():
                _terminate(running.job)
            while any(not running.job.done() for running in self._running.values()):
                time.sleep(LOOK_EVERY["local"])
        elif self._running:
            self._scancel("--state=PENDING")
            self._scancel("--state=RUNNING", f"--signal={STOP.removeprefix('SIG')}")
            deadline = time.monotonic() + self._options.signal
            while time.monotonic() < deadline and self._active_jobs():
                time.sleep(LOOK_EVERY["slurm"])
            self._scancel()
        self._running.clear()

    def __exit__(self, *_: object) -> None:
        """Stop. The folder of the jobs is removed if all of them had an answer."""
        clean = not self._running and not self._died
        self.stop()
        if clean:  # jobs that are just ending may still write to their logs
            shutil.rmtree(self._folder, ignore_errors=True)
            with suppress(OSError):  # other runs have theirs beside it
                self._folder.parent.rmdir()

    def _start(self) -> None:
        """Start works on this machine as far as there is room."""
        while self._queue and (self._workers is None or len(self._running) < self._workers):
            assert self._room is not None
            place = self._room.take(self._queue[0])
            if place is None:
                return
            self._submit([self._queue.popleft()], place)

    def _submit(self, works: Sequence[Work], place: Place | None = None) -> None:
        """Submit works with equal resources as an array."""
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        folder = self._folder / str(next(self._batches))
        executor = submitit.AutoExecutor(
            folder, cluster=self._options.cluster, slurm_max_num_timeout=LIMITS
        )
        executor.update_parameters(**self._parameters(works))
        variables = NO_VARIABLES if place is None else place.variables
        calls = [SlurmJob(self._command, work, self._options.requeue, variables) for work in works]
        try:
            jobs = executor.submit_array(calls)
        except (FailedJobError, FailedSubmissionError) as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise UserError(f"SLURM refuses the jobs: {reason}") from None
        for work, job in zip(works, jobs, strict=True):
            self._running[work.id] = _Running(work, job, place)

    def _parameters(self, works: Sequence[Work]) -> dict[str, Any]:
        """Return submitit's parameters for works with equal resources."""
        options, (devices, threads) = self._options, _resources(works[0])
        parameters: dict[str, Any] = {
            "name": self.name,
            "timeout_min": options.time,
            "stderr_to_stdout": True,
            "gpus_per_node": devices if self._device == "cuda" and not options.gres else None,
        }
        if self._is_local:
            return parameters
        cores = devices * threads
        return parameters | {
            "cpus_per_task": cores,
            "slurm_partition": options.partition,
            "slurm_account": options.account,
            "slurm_qos": options.qos,
            "slurm_constraint": options.constraint,
            "slurm_gres": options.gres,
            "slurm_mem": options.mem,
            "slurm_setup": list(options.setup),
            "slurm_signal_delay_s": options.signal,
            "slurm_array_parallelism": self._workers or len(works),
            # Since SLURM 22.05 a step does not take this number from its job.
            "slurm_srun_args": [f"--cpus-per-task={cores}"],
            "slurm_additional_parameters": {"requeue" if options.requeue else "no-requeue": True},
        }

    def _look(self) -> list[Ended]:
        """Return the works that have ended, by their answers, or by the states of their jobs."""
        ended = self._look_here() if self._is_local else self._look_at_cluster()
        self._died |= any(each.answer is None for each in ended)
        for each in ended:
            place = self._running.pop(each.id).place
            if self._room is not None and place is not None:
                self._room.release(place)
        return ended

    def _look_here(self) -> list[Ended]:
        over = [running for running in self._running.values() if running.job.done()]
        return [
            _answer(each) if each.job.paths.result_pickle.exists() else _death(each, each.job.state)
            for each in over
        ]

    def _look_at_cluster(self) -> list[Ended]:
        answers: set[Path] = set()
        for folder in {running.job.paths.folder for running in self._running.values()}:
            folder.chmod(folder.stat().st_mode)  # else NFS shows a list of up to a minute ago
            answers.update(folder.glob("*_result.pkl"))
        gone = self._gone_jobs()
        ended = []
        for running in self._running.values():
            if running.job.paths.result_pickle in answers:
                ended.append(_answer(running))
            elif state := gone.get(running.job.job_id):
                ended.append(_death(running, state))
        return ended

    def _gone_jobs(self) -> dict[str, str]:
        """Return the jobs that had ended at the last request already, with their states.

        Their answers have come since, if there are any.
        """
        if time.monotonic() < self._last_states + STATES_EVERY:
            return {}
        self._last_states = time.monotonic()
        states = self._states()
        if states is None:
            return {}
        ids = [running.job.job_id for running in self._running.values()]
        ended = {job: state for job in ids if (state := states.get(job, "GONE")) in ENDED_STATES}
        before, self._had_ended = self._had_ended, set(ended)
        return {job: state for job, state in ended.items() if job in before}

    def _states(self) -> dict[str, str] | None:
        """Return the states of all jobs by their number; None if the controller does not answer.

        ``sacct``, which submitit calls, needs a database that many clusters lack.
        """
        command = ["squeue", "--me", f"--name={self.name}", "--array", "--states=all"]
        result = subprocess.run(
            [*command, "--noheader", "--format=%i|%T"], capture_output=True, text=True, check=False
        )
        if result.returncode:
            return None
        lines = (line.partition("|") for line in result.stdout.split())
        return {job: state for job, _, state in lines}

    def _active_jobs(self) -> list[str]:
        states = self._states() or {}
        return [job for job, state in states.items() if state not in ENDED_STATES]

    def _scancel(self, *arguments: str) -> None:
        """Cancel or signal the jobs of this executor; there may be none any more."""
        command = ["scancel", "--me", f"--name={self.name}", *arguments]
        subprocess.run(command, capture_output=True, check=False)


def _answer(running: _Running) -> Ended:
    """Return the answer of a job, or the last line of the traceback with which it failed."""
    from submitit.core.utils import UncompletedJobError

    try:
        return running.job.result()
    except UncompletedJobError:
        return _death(running, "FAILED")


def _death(running: _Running, state: str) -> Ended:
    job = running.job
    return Ended(
        running.work.id, None, reason=f"job {job.job_id} of SLURM: {state}; see {job.paths.stdout}"
    )


def _resources(work: Work) -> tuple[int, int]:
    return work.devices, work.threads


def _terminate(job: submitit.Job[Ended]) -> None:
    """Send SIGTERM to a job of this machine; its controller passes it on."""
    if not job.done():
        os.kill(int(job.job_id), signal.SIGTERM)
