"""The contract of executors: work in, answers out; both are text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

Function = Callable[[str], str]  # carries out a request; must be importable by its name


@dataclass(frozen=True)
class Work:
    """A job as executors see it.

    Attributes:
        id: Identity; no two works of an executor that have not ended share it.
        title: Name for people, such as ``train CNN, seed 0``.
        request: Text that the function of all executors carries out.
        devices: Processes on each machine, each on a device of its own.
        nodes: Machines.
        threads: Processor threads of each process.
        order: Place among the works that wait; a smaller one starts earlier.
    """

    id: str
    title: str
    request: str
    devices: int = 1
    nodes: int = 1
    threads: int = 1
    order: int = 0

    @property
    def processes(self) -> int:
        """Number of processes, on all machines."""
        return self.devices * self.nodes


@dataclass(frozen=True)
class Ended:
    """A work that has ended.

    Attributes:
        id: Identity of the work.
        answer: Text that the function returned; None if its process died.
        code: Exit code of a process that died, minus the signal's number if one ended it; None if
            it is not known.
        reason: The engine's words for the end, such as the state of a job of SLURM; often empty.
    """

    id: str
    answer: str | None
    code: int | None = None
    reason: str = ""


class Executor(ABC):
    """An engine that carries out works; a context manager, which stops at its end."""

    @abstractmethod
    def submit(self, works: Sequence[Work]) -> None:
        """Queue works; each starts when there is room for it.

        Args:
            works: Works without dependencies among each other.
        """

    @abstractmethod
    def ended(self, timeout: float) -> list[Ended]:
        """Return the works that have ended since the last call.

        Args:
            timeout: Seconds to wait for the first one.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop what is running, and wait until it has saved its state and ended."""

    def __enter__(self) -> Self:
        """Start; an engine that has nothing to prepare starts with its first work."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()
