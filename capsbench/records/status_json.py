"""The state of a runs folder as plain values, for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from capsbench.records.failure import FailureRecord
from capsbench.records.running_job import RunningJob
from capsbench.records.status import BenchmarkStatus, CellStatus, RunsStatus


def as_plain(status: RunsStatus) -> dict[str, Any]:
    """Return the state of a runs folder as plain values.

    ``runs``
        The folder.
    ``finished``
        True if there are cells, and none is running or waiting.
    ``counts``
        Number of cells by state: ``running``, ``failed``, ``waiting``, ``diverged``, ``done``. A
        cell of several benchmarks counts once, in the first of these states that applies.
    ``claims``
        Claims: ``name``, ``parts`` (names of benchmarks), ``page``.
    ``benchmarks``
        Benchmarks: ``name`` (empty for running and failed cells that no benchmark lists),
        ``claims`` (that it is a part of), ``counts``, ``command``, ``page``,
        ``problem`` (of a damaged record) and ``cells``.
    A cell of ``cells``
        ``title``, ``seed``, ``folder`` (relative to ``runs``), ``state``, ``trained``,
        ``resumable``, ``diverged_at``, ``jobs``, ``failure`` and ``problem`` (of a damaged file).
    A job of ``jobs``
        ``task``, ``host``, ``pid``, ``device``, ``since`` (Unix time), ``step``, ``steps``,
        ``steps_per_second``, ``seconds_left`` and ``note``.
    ``failure``
        ``job``, ``kind``, ``reason``, ``log`` (relative to ``runs``), ``attempts``, ``host``,
        ``date`` and ``traceback``.

    What does not apply or is not known is None.
    """
    return {
        "runs": str(status.runs),
        "finished": status.is_finished,
        "counts": status.counts,
        "claims": [
            {"name": name, "parts": [part.name for part in status.parts(name)], "page": page}
            for name, page in status.pages_of_claims.items()
        ],
        "benchmarks": [_benchmark(each) for each in status.benchmarks],
    }


def _benchmark(status: BenchmarkStatus) -> dict[str, Any]:
    return {
        "name": status.name,
        "claims": status.claims,
        "counts": status.counts,
        "command": status.command,
        "page": status.page,
        "problem": status.problem,
        "cells": [_cell(cell) for cell in status.cells],
    }


def _cell(cell: CellStatus) -> dict[str, Any]:
    return {
        "title": cell.title,
        "seed": cell.seed,
        "folder": cell.folder,
        "state": cell.state,
        "trained": cell.trained,
        "resumable": cell.resumable,
        "diverged_at": cell.diverged_at,
        "jobs": [_job(each) for each in cell.jobs],
        "failure": None if cell.failure is None else _failure(cell.failure, cell.folder),
        "problem": cell.problem,
    }


def _job(job: RunningJob) -> dict[str, Any]:
    facts = asdict(job)
    del facts["token"]
    return {**facts, "seconds_left": job.seconds_left}


def _failure(failure: FailureRecord, folder: str) -> dict[str, Any]:
    return {
        "job": failure.job,
        "kind": failure.kind,
        "reason": failure.reason,
        "log": failure.log and f"{folder}/{failure.log}",
        "attempts": failure.attempts,
        "host": failure.host,
        "date": failure.provenance.date,
        "traceback": failure.traceback,
    }
