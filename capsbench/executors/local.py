"""A pool of worker processes on this machine, as many as there is room for."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import count
from subprocess import Popen

from capsbench.executors.executor import Ended, Executor, Work
from capsbench.executors.group import run_group
from capsbench.executors.processes import Process, reap
from capsbench.executors.room import Place, Room
from capsbench.executors.template import ForkedProcess, Template, has_ended


@dataclass(eq=False)
class _Worker:
    """A process that carries out one work after the other, on one device."""

    devices: tuple[str, ...]
    process: ForkedProcess | Popen[str]

    def carry_out(self, work: Work) -> Ended:
        """Carry out a work, and wait for its answer or the death of the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(work.request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:  # it died before
            line = ""
        if line.endswith("\n"):
            return Ended(work.id, json.loads(line))
        return Ended(work.id, None, reap(self.process))


@dataclass(frozen=True)
class _Running:
    """A work in progress, with its place, its worker if it has one, and the thread that waits."""

    place: Place
    worker: _Worker | None
    thread: threading.Thread


class LocalPool(Executor):
    """Executor of this machine.

    A worker process is started when there is a work for it, and takes further works of its device.
    One that dies is replaced at the next work. Works on several devices get processes of their own.

    Args:
        template: Source of the workers, which is not ended. The command of a worker, with the path
            of a request, carries out this one, see `run_group`.
        room: Room of the machine.
        workers: Largest number of works at a time; None for no limit but the room.
    """

    def __init__(self, template: Template, room: Room, workers: int | None = None) -> None:
        self._template = template
        self._room = room
        self._limit = workers
        self._queue: list[tuple[int, int, Work]] = []  # a heap by order, then by submission
        self._submitted = count()
        self._running: dict[str, _Running] = {}
        self._ended: queue.SimpleQueue[Ended | Exception] = queue.SimpleQueue()
        self._idle: list[_Worker] = []
        self._processes: list[Process] = []  # of all works so far
        self._stops = False

    def submit(self, works: Sequence[Work]) -> None:
        """Queue works, and start those that there is room for, in their order.

        Raises:
            UserError: No worker process can be started.
        """
        for work in works:
            heappush(self._queue, (work.order, next(self._submitted), work))
        self._start()

    def ended(self, timeout: float) -> list[Ended]:
        """Return the works that have ended.

        Their room is taken at the next call, so that works that follow on them can be submitted
        before others take their place.

        Raises:
            OSError: The processes of a work cannot be started.
            UserError: No worker process can be started.
        """
        self._start()
        ended: list[Ended | Exception] = []
        try:
            ended.append(self._ended.get(timeout=timeout))
            while True:
                ended.append(self._ended.get_nowait())
        except queue.Empty:
            pass
        works: list[Ended] = []
        for each in ended:
            if isinstance(each, Exception):
                raise each
            works.append(each)
            running = self._running.pop(each.id)
            self._room.release(running.place)
            if running.worker is not None and each.answer is not None:
                self._idle.append(running.worker)
        return works

    def _start(self) -> None:
        """Start works in their order, so that one on several devices is not passed for ever."""
        while self._queue and (self._limit is None or len(self._running) < self._limit):
            work = self._queue[0][-1]
            place = self._room.take(work)
            if place is None:
                return
            heappop(self._queue)
            if work.processes == 1:
                worker = self._take_worker(place)
                thread = self._in_thread(worker.carry_out, work)
            else:
                worker = None
                group = partial(run_group, self._template.command, variables=place.variables)
                thread = self._in_thread(partial(group, on_start=self._add), work)
            self._running[work.id] = _Running(place, worker, thread)

    def _in_thread(self, carry_out: Callable[[Work], Ended], work: Work) -> threading.Thread:
        """Wait for the end of a work in a thread, which does not keep this process alive."""

        def wait() -> None:
            try:
                self._ended.put(carry_out(work))
            except Exception as error:  # noqa: BLE001 - `ended` raises it
                self._ended.put(error)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread

    def _add(self, process: Process) -> None:
        self._processes.append(process)
        if self._stops:  # it was just being started
            process.terminate()

    def _take_worker(self, place: Place) -> _Worker:
        """Return an idle worker of the devices, or a new one."""
        for worker in [each for each in self._idle if each.devices == place.devices]:
            self._idle.remove(worker)
            if not has_ended(worker.process):
                return worker
            reap(worker.process)  # killed while it was idle, which is no failure of a work
        worker = _Worker(place.devices, self._template.new_worker(place.variables))
        self._add(worker.process)
        return worker

    def stop(self) -> None:
        """Send SIGTERM to all processes, and wait until they have saved their states and ended."""
        self._queue.clear()
        self._stops = True
        for process in self._processes:
            process.terminate()  # no effect on one that has ended
        for running in self._running.values():
            running.thread.join()
        for process in self._processes:
            reap(process)
