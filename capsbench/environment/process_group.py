"""Groups of processes that share a training: who started them, and this process's place in one."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self
from zlib import crc32

from capsbench.environment.variables import whole_number
from capsbench.errors import UserError

# Without these, processes on several machines cannot find each other.
MEETING_PLACE = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
LOST = ("DistBackendError", "DistNetworkError", "DistStoreError")  # of torch.distributed
FIRST_PORT, PORTS = 15000, 10000  # of groups that others have started, or on several machines
OF_GROUP = ("TORCHELASTIC_RUN_ID", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_STEP_ID")


@dataclass(frozen=True)
class ProcessGroup:
    """The group that a launcher has started this process in.

    Attributes:
        launcher: ``torchrun``, ``srun``, or ``capsbench`` for variables as torch's.
        processes: Number of processes, on all machines.
        nodes: Number of machines.
        rank: Number of this process.
        local_rank: Its number on its machine.
    """

    launcher: Literal["torchrun", "srun", "capsbench"]
    processes: int
    nodes: int
    rank: int
    local_rank: int

    @classmethod
    def current(cls) -> Self | None:
        """Return the group of this process; None if it was started alone.

        A single task of ``srun``, as submitit's, is no group: it starts the processes itself.

        Raises:
            UserError: A variable is not a whole number.
        """
        if "TORCHELASTIC_RUN_ID" in os.environ:
            return cls(
                launcher="torchrun",
                processes=whole_number("WORLD_SIZE", 1),
                nodes=whole_number("GROUP_WORLD_SIZE", 1),
                rank=whole_number("RANK"),
                local_rank=whole_number("LOCAL_RANK"),
            )
        if os.environ.get("LOCAL_RANK") and os.environ.get("WORLD_SIZE"):
            processes, local = whole_number("WORLD_SIZE"), whole_number("LOCAL_WORLD_SIZE", 1)
            node, local_rank = whole_number("NODE_RANK"), whole_number("LOCAL_RANK")
            return cls(
                launcher="capsbench",
                processes=processes,
                nodes=max(1, processes // max(1, local)),
                rank=whole_number("RANK", node * local + local_rank),
                local_rank=local_rank,
            )
        if "SLURM_STEP_ID" in os.environ and (tasks := _tasks_of_step()) > 1:
            return cls(
                launcher="srun",
                processes=tasks,
                nodes=whole_number("SLURM_STEP_NUM_NODES", whole_number("SLURM_NNODES", 1)),
                rank=whole_number("SLURM_PROCID"),
                local_rank=whole_number("SLURM_LOCALID"),
            )
        return None

    def torch_variables(self, work: str) -> dict[str, str]:
        """Return the place as torch's variables, for a process that joins a work of the group.

        Each work has a meeting place of its own: one process can begin the next work while another
        ends the last one, and torchrun's own place still has what the last one left there.

        Args:
            work: Identity of the work, the same in all processes.
        """
        hosts = os.environ.get("SLURM_STEP_NODELIST", os.environ.get("SLURM_NODELIST", ""))
        return {
            "WORLD_SIZE": str(self.processes),
            "LOCAL_WORLD_SIZE": str(self.processes // self.nodes),
            "RANK": str(self.rank),
            "LOCAL_RANK": str(self.local_rank),
            "MASTER_ADDR": os.environ.get("MASTER_ADDR") or _first_host(hosts) or "127.0.0.1",
            "MASTER_PORT": meeting_port(work, OF_GROUP),
            "TORCHELASTIC_USE_AGENT_STORE": "False",
        }


def meeting_port(work: str, variables: Sequence[str]) -> str:
    """Return the port at which the processes of a work meet.

    Any free port would do, if all processes knew it; they know the work and some variables.

    Args:
        work: Identity of the work, the same in all processes.
        variables: Names of variables that are the same in all processes, and others in another
            group.
    """
    known = [os.environ.get(name, "") for name in variables]
    return str(FIRST_PORT + crc32("/".join([*known, work]).encode()) % PORTS)


def _first_host(hosts: str) -> str:
    """Return the first host of SLURM's short form of a list.

    >>> _first_host("node[07-09,12],login1")
    'node07'
    >>> _first_host("localhost")
    'localhost'
    """
    return re.sub(r"\[(\w+)[^]]*\].*", r"\1", hosts).partition(",")[0]


def _tasks_of_step() -> int:
    return whole_number("SLURM_STEP_NUM_TASKS", whole_number("SLURM_NTASKS", 1))


def is_first_process() -> bool:
    """Return True in the process that writes records and prints, if there are several."""
    group = ProcessGroup.current()
    return (whole_number("NODE_RANK") if group is None else group.rank) == 0


class OtherProcessFailedError(RuntimeError):
    """Error of a process that ends because another one of its group has failed."""


def is_failure_of_another(error: BaseException) -> bool:
    """Return True if an error says that another process of the group has failed or ended.

    Its cause is known to that process alone.
    """
    if isinstance(error, OtherProcessFailedError):
        return True
    return isinstance(error, RuntimeError) and (
        type(error).__name__ in LOST or re.search("gloo|NCCL|TCPStore", str(error)) is not None
    )


def require_processes(devices: int, nodes: int) -> ProcessGroup | None:
    """Compare the processes of a training with those that were started.

    Args:
        devices: Processes on each machine.
        nodes: Machines.

    Returns:
        The group; None if this process starts the others of its machine itself.

    Raises:
        UserError: There are more or fewer, or nothing says how machines find each other.
    """
    group, expected = ProcessGroup.current(), f"--devices {devices} --nodes {nodes}"
    if group is None:
        missing = [name for name in MEETING_PLACE if not os.environ.get(name)]
        if nodes > 1 and missing:
            raise UserError(
                f"{expected} needs processes on {nodes} machines, got this one alone; start the "
                f"command by srun --nodes={nodes} --ntasks-per-node={devices}, by torchrun "
                f"--nnodes={nodes} --nproc-per-node={devices}, or on each machine with the "
                f"variables {', '.join(MEETING_PLACE)} (missing: {', '.join(missing)})"
            )
        return None
    started = f"{group.launcher} started {group.processes}"
    if group.processes != devices * nodes:
        remedy = (
            f"give --devices {group.processes // group.nodes} --nodes {group.nodes}, or start "
            f"{devices * nodes}"
            if group.processes % group.nodes == 0
            else f"start {devices} on each machine"
        )
        raise UserError(
            f"{expected} needs {devices * nodes} process{'es' * (devices * nodes > 1)}, but "
            f"{started}; {remedy}"
        )
    if group.nodes != nodes or group.local_rank >= devices:
        raise UserError(
            f"{expected} needs {devices} processes on each of {nodes} machines, but {started} on "
            f"{group.nodes}, this one as number {group.local_rank} of its machine; start "
            f"{devices} on each"
        )
    return group
