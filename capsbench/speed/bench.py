"""Carry out comparisons: prepare their rows, time them side by side, relate them to the limits."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from capsbench.profiling.peak_memory import peak_bytes
from capsbench.profiling.timing import synchronize
from capsbench.speed.groups import data, routing, startup, step, sweep
from capsbench.speed.interleaving import (
    Prepared,
    calls_per_sample,
    interleave,
    ratios,
    spread,
)
from capsbench.speed.limits import Limits
from capsbench.speed.rows import Comparison, Result, Row, full_name

BUDGET = 8.0  # seconds of rounds for each comparison, unless its fewest rounds take longer


def comparisons_of(group: str, device: str) -> list[Comparison]:
    """The comparisons of a group, in the sizes that are published."""
    match group:
        case "routing":
            return routing.comparisons(device, routing.Sizes())
        case "step":
            return step.comparisons(device, step.Sizes())
        case "data":
            return data.comparisons(device, data.Sizes())
        case "sweep":
            return sweep.comparisons(device, sweep.Sizes())
        case "startup":
            return startup.comparisons()
    raise ValueError(group)


def needs_limits(comparisons: Iterable[Comparison]) -> bool:
    """Whether any row does work of which a rate can be told."""
    return any(row.flops or row.bytes for comparison in comparisons for row in comparison.rows)


def carry_out(
    group: str,
    comparison: Comparison,
    *,
    device: str,
    limits: Limits | None,
    rounds: int | None = None,
    budget: float = BUDGET,
) -> list[Result]:
    """Measure the rows of a comparison.

    Each is called twice before: once to warm up, once to count its memory.

    Args:
        group: The comparison's group.
        comparison: The rows.
        device: Where they compute: ``cpu`` or ``cuda``.
        limits: What the device can do at best, for rows whose work is counted.
        rounds: How many rounds; if left out, as many as fit into the budget.
        budget: Seconds for the rounds.

    Returns:
        A result for each row, in their order.
    """
    present = [row for row in comparison.rows if row.not_measured is None]
    ready = [_prepare(row, device) for row in present]
    samples = interleave(
        [prepared for prepared, _ in ready],
        rounds=rounds,
        budget=budget,
        synchronize=lambda: synchronize(device),
    )
    times = {
        row.name: [seconds / row.units for seconds in taken]
        for row, taken in zip(present, samples, strict=True)
    }
    peaks = {row.name: peak for row, (_, peak) in zip(present, ready, strict=True)}
    return [
        _result(group, comparison, row, times, peaks.get(row.name), limits)
        for row in comparison.rows
    ]


def _prepare(row: Row, device: str) -> tuple[Prepared, int | None]:
    """A row's work, warm, and the most memory that a call of it had in use."""
    work = row.prepare()
    work()
    synchronize(device)
    start = time.perf_counter()
    peak = None
    if row.counts_memory:
        peak = peak_bytes(work, device)
    else:
        work()
        synchronize(device)
    return Prepared(work, calls_per_sample(time.perf_counter() - start)), peak


def _result(
    group: str,
    comparison: Comparison,
    row: Row,
    times: dict[str, list[float]],
    peak: int | None,
    limits: Limits | None,
) -> Result:
    first = comparison.rows[0].name
    known = Result(
        group=group,
        comparison=comparison.name,
        row=row.name,
        baseline=full_name(comparison.name, first),
        precision=row.precision,
        flops=row.flops,
        bytes=row.bytes,
        not_measured=row.not_measured,
    )
    if row.name not in times:
        return known
    own = times[row.name]
    seconds = spread(own)
    timed = replace(
        known,
        rounds=len(own),
        median_ms=1e3 * seconds.median,
        min_ms=1e3 * min(own),
        p10_ms=1e3 * seconds.low,
        p90_ms=1e3 * seconds.high,
        peak_bytes=peak,
    )
    if first in times:
        ratio = spread(ratios(times[first], own))
        timed = replace(timed, ratio=ratio.median, ratio_p10=ratio.low, ratio_p90=ratio.high)
    if limits and row.flops:
        rate = row.flops / seconds.median
        timed = replace(timed, percent_of_matmul=100 * rate / limits.matmul[row.precision])
    if limits and row.bytes:
        rate = row.bytes / seconds.median
        timed = replace(timed, percent_of_copy=100 * rate / limits.copy)
    return timed
