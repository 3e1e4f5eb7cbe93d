"""Comparisons: prepare their rows, time them alternately, and relate them to machine limits."""

from __future__ import annotations

import time
from collections.abc import Iterable

from capsbench.profiling.peak_memory import peak_bytes
from capsbench.profiling.timing import synchronize
from capsbench.speed.groups import (
    data,
    executors,
    growth,
    page,
    routing,
    routings,
    startup,
    step,
    sweep,
)
from capsbench.speed.interleaving import (
    PreparedWork,
    calls_per_sample,
    interleave,
    ratios,
    timing_spread,
)
from capsbench.speed.limits import Limits
from capsbench.speed.rows import Comparison, Row, RowResult, full_name

BUDGET = 8.0  # seconds of rounds per comparison, unless the minimum of rounds takes longer


def comparisons_of(group: str, device: str) -> list[Comparison]:
    """Return the comparisons of a group, with the published sizes."""
    match group:
        case "routing":
            return routing.comparisons(device, routing.RoutingSizes())
        case "routings":
            return routings.comparisons(device, routings.RoutingsSizes())
        case "step":
            return step.comparisons(device, step.StepSizes())
        case "data":
            return data.comparisons(device, data.DataSizes())
        case "sweep":
            return sweep.comparisons(device, sweep.SweepSizes())
        case "startup":
            return startup.comparisons()
        case "growth":
            return growth.comparisons(growth.GrowthSizes())
        case "page":
            return page.comparisons()
        case "executors":
            return executors.comparisons(executors.ExecutorSizes())
    raise ValueError(group)


def needs_limits(comparisons: Iterable[Comparison]) -> bool:
    """Return whether the operations or bytes of any row are known, so that it has a rate."""
    return any(row.flops or row.bytes for comparison in comparisons for row in comparison.rows)


def measure_comparison(
    group: str,
    comparison: Comparison,
    *,
    device: str,
    limits: Limits | None,
    rounds: int | None = None,
    budget: float = BUDGET,
) -> list[RowResult]:
    """Measure the rows of a comparison.

    Each row is called twice before: once for warm-up, once to measure its memory; see
    `Comparison.rounds` for works that take long.

    Args:
        group: Group of the comparison.
        comparison: The rows.
        device: Device of the computation: ``cpu`` or ``cuda``.
        limits: Measured limits of the device, for rows with known operations or bytes.
        rounds: Number of rounds; by default that of the comparison, or as many as fit into the
            budget.
        budget: Seconds for the rounds.

    Returns:
        The result of each row, in order.
    """
    available = [row for row in comparison.rows if row.not_measured is None]
    prepared = [
        _prepare(row, device)
        if comparison.rounds is None
        else _prepare_long(row, warm_up=row is available[0])
        for row in available
    ]
    samples = interleave(
        [work for work, _ in prepared],
        rounds=rounds or comparison.rounds,
        budget=budget,
        synchronize=lambda: synchronize(device),
    )
    times = {
        row.name: [seconds / row.units for seconds in sample]
        for row, sample in zip(available, samples, strict=True)
    }
    peaks = {row.name: peak for row, (_, peak) in zip(available, prepared, strict=True)}
    return [
        _result(group, comparison, row, times, peaks.get(row.name), limits)
        for row in comparison.rows
    ]


def _prepare(row: Row, device: str) -> tuple[PreparedWork, int | None]:
    """Warm up a row's work and measure the peak memory of a call."""
    work = row.prepare()
    work()
    synchronize(device)
    start = time.perf_counter()
    peak = None
    if row.measures_memory:
        peak = peak_bytes(work, device)
    else:
        work()
        synchronize(device)
    return PreparedWork(work, calls_per_sample(time.perf_counter() - start)), peak


def _prepare_long(row: Row, *, warm_up: bool) -> tuple[PreparedWork, None]:
    work = row.prepare()
    if warm_up:
        work()
    return PreparedWork(work, calls=1), None


def _result(
    group: str,
    comparison: Comparison,
    row: Row,
    times: dict[str, list[float]],
    peak: int | None,
    limits: Limits | None,
) -> RowResult:
    baseline = comparison.rows[0].name
    result = RowResult(
        name=full_name(comparison.name, row.name),
        group=group,
        comparison=comparison.name,
        row=row.name,
        baseline=full_name(comparison.name, baseline),
        precision=row.precision,
        flops=row.flops,
        bytes=row.bytes,
        not_measured=row.not_measured,
    )
    if row.name not in times:
        return result
    own = times[row.name]
    seconds = timing_spread(own)
    numbers: dict[str, float | None] = {
        "rounds": len(own),
        "median_ms": 1e3 * seconds.median,
        "min_ms": 1e3 * min(own),
        "p10_ms": 1e3 * seconds.p10,
        "p90_ms": 1e3 * seconds.p90,
        "peak_bytes": peak,
    }
    if baseline in times:
        ratio = timing_spread(ratios(times[baseline], own))
        numbers |= {"ratio": ratio.median, "ratio_p10": ratio.p10, "ratio_p90": ratio.p90}
    if limits and row.flops:
        rate = row.flops / seconds.median
        numbers["percent_of_matmul"] = 100 * rate / limits.matmul[row.precision]
    if limits and row.bytes:
        rate = row.bytes / seconds.median
        numbers["percent_of_copy"] = 100 * rate / limits.copy
    return result.model_copy(update=numbers)
