"""Rows of group ``growth``: times per cell of what handles all cells of a benchmark at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

from capsbench.executors.executor import Ended, Executor, Work
from capsbench.records import load_results
from capsbench.records.status import read_status
from capsbench.reporting import report
from capsbench.reporting.stamp import STAMP
from capsbench.running.carry_out import carry_out_on
from capsbench.running.job_request import Outcome
from capsbench.running.jobs import plan_jobs
from capsbench.running.plan import plan
from capsbench.speed.recorded_runs import (
    MODELS,
    RecordedRun,
    quiet_session,
    record_cells,
    temporary_folder,
)
from capsbench.speed.rows import Comparison, Row
from capsbench.speed.rows import Work as TimedWork


@dataclass(frozen=True)
class GrowthSizes:
    """Sizes of the benchmarks.

    Attributes:
        seeds: Seeds of each of the twenty networks, one number per benchmark; the smallest first.
        rounds: Rounds of each comparison: the largest page takes more than a minute.
    """

    seeds: tuple[int, ...] = (5, 50, 500)
    rounds: int = 1


class AtOnce(Executor):
    """Executor that ends each work when it is asked for ended ones, one at a time."""

    def __init__(self) -> None:
        self._queue: list[Work] = []
        self._answer = Outcome(status="done").model_dump_json()

    def submit(self, works: Sequence[Work]) -> None:
        """Queue works."""
        self._queue.extend(works)

    def ended(self, timeout: float) -> list[Ended]:
        """End the last work."""
        return [Ended(self._queue.pop().id, self._answer)] if self._queue else []

    def stop(self) -> None:
        """Forget what is queued."""
        self._queue.clear()


def comparisons(sizes: GrowthSizes) -> list[Comparison]:
    """Compare benchmarks of several sizes; times are per cell, so that linear growth has ratio 1.

    The records are written once per size, into a temporary folder.
    """
    works: dict[str, Callable[[RecordedRun], TimedWork]] = {
        "plan cells": _plan,
        "plan jobs of recorded cells": _plan_jobs,
        "schedule jobs": _schedule,
        "status": _status,
        "load records": _load,
        "page": _page,
        "unchanged page": _unchanged_page,
    }
    return [
        Comparison(
            name,
            tuple(
                Row(
                    f"{MODELS * seeds:,} cells",
                    partial(_prepare, prepare, seeds),
                    units=MODELS * seeds,
                    measures_memory=False,
                )
                for seeds in sizes.seeds
            ),
            rounds=sizes.rounds,
        )
        for name, prepare in works.items()
    ]


def _prepare(prepare: Callable[[RecordedRun], TimedWork], seeds: int) -> TimedWork:
    return prepare(_recorded(seeds))


@cache
def _recorded(seeds: int) -> RecordedRun:
    return record_cells(temporary_folder() / str(seeds), seeds)


def _plan(run: RecordedRun) -> TimedWork:
    return lambda: _nothing(plan(run.benchmark))


def _plan_jobs(run: RecordedRun) -> TimedWork:
    return lambda: _nothing(plan_jobs(run.cells, run.benchmark.name, run.session))


def _schedule(run: RecordedRun) -> TimedWork:
    """Return the work of the scheduler for cells of which none is recorded."""
    session = quiet_session(temporary_folder() / "none")
    jobs = plan_jobs(run.cells, run.benchmark.name, session)
    return lambda: _nothing(carry_out_on(AtOnce(), jobs, session, lambda job, outcome: None))


def _status(run: RecordedRun) -> TimedWork:
    return lambda: _nothing(read_status(run.session.output))


def _load(run: RecordedRun) -> TimedWork:
    return lambda: _nothing(load_results(run.folder.path))


def _page(run: RecordedRun) -> TimedWork:
    def work() -> None:
        (run.folder.report / STAMP).unlink(missing_ok=True)
        report.build(run.folder.path)

    return work


def _unchanged_page(run: RecordedRun) -> TimedWork:
    report.build(run.folder.path)
    return lambda: _nothing(report.build(run.folder.path))


def _nothing(result: object) -> None:
    """Drop the result of a work, which would be taken for seconds."""
