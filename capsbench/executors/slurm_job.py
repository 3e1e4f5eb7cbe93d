"""A work as a job of SLURM: what runs on the node, and what it does at SLURM's signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from subprocess import Popen
from typing import TYPE_CHECKING, Any

from capsbench.executors.executor import Ended, Work
from capsbench.executors.group import run_group

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

AGAIN = "SIGUSR2"  # submitit's signal of preemption and of a limit: save the state, queue it again
STOP = "SIGUSR1"  # sent by `SlurmArrays.stop`: save the state
SIGNALS = (AGAIN, STOP, "SIGTERM")
# They place this process in a step of one task. Lightning would wait for the tasks of such a step,
# while the group of a work starts its own processes.
OF_STEP = (
    "SLURM_NTASKS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_STEP_ID",
    "SLURM_STEP_NUM_TASKS",
)


@dataclass(frozen=True)
class SlurmJob:
    """The call that submitit carries out on a node.

    submitit alone queues a job again, and never in the middle of a step of training: its handler of
    signals is called after the work has saved its state and ended.

    Attributes:
        command: Command of a process that carries out one request, see `run_group`.
        work: The work.
        requeue: Queue the job again after `AGAIN`.
        variables: Variables of the environment of the work, such as its devices.
    """

    command: tuple[str, ...]
    work: Work
    requeue: bool
    variables: Mapping[str, str]

    def __call__(self) -> Ended:
        """Carry out the work, and return how it ended; a job that is stopped has no result."""
        for name in OF_STEP:
            os.environ.pop(name, None)
        again = signal.Signals[AGAIN]
        queue_again = signal.getsignal(again)
        received: list[int] = []
        group: list[Popen[str]] = []

        def stop(number: int, _frame: Any) -> None:
            for process in () if received else group:  # SLURM repeats signals
                process.terminate()
            received.append(number)

        def on_start(process: Popen[str]) -> None:
            group.append(process)
            if received:
                process.terminate()

        for name in SIGNALS:
            signal.signal(signal.Signals[name], stop)
        ended = run_group(self.command, self.work, self.variables, on_start=on_start)
        if ended.answer is not None or not received:
            return ended
        if self.requeue and (received[0] == again or _is_preempted(received[0])):
            assert callable(queue_again)
            queue_again(again, None)  # exits
        sys.exit(128 + received[0])

    def checkpoint(self) -> DelayedSubmission:
        """Return what submitit carries out when the job runs again: the same work."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _is_preempted(number: int) -> bool:
    """Check that a job that got SIGTERM is not cancelled, but in the grace before a preemption.

    Only then is its state still that of a job that runs.
    """
    if number != signal.SIGTERM or os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return False
    command = ["squeue", "--noheader", "--format=%T", f"--jobs={os.environ['SLURM_JOB_ID']}"]
    state = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return state.strip() == "RUNNING"
