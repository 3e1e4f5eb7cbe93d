"""Times of several works, interleaved so that a drift of the machine affects all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from capsbench.speed.rows import Work

MIN_ROUNDS, MAX_ROUNDS = 5, 100
MIN_SAMPLE_SECONDS = 0.005  # far above the clock's resolution and the overhead of a call


class PreparedWork(NamedTuple):
    """Work that is ready to be timed.

    Attributes:
        work: Work after at least one call, so that its caches are filled.
        calls: Number of calls that are timed together.
    """

    work: Work
    calls: int


def calls_per_sample(seconds: float) -> int:
    """Return the number of calls per sample for a call of this duration.

    >>> calls_per_sample(0.3), calls_per_sample(0.001)
    (1, 5)
    """
    return max(1, math.ceil(MIN_SAMPLE_SECONDS / max(seconds, 1e-6)))


def interleave(
    works: Sequence[PreparedWork],
    *,
    rounds: int | None,
    budget: float,
    synchronize: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Time works in rounds: A B C, A B C, ...

    Args:
        works: The works.
        rounds: Number of rounds; by default as many as fit into the budget, from `MIN_ROUNDS` to
            `MAX_ROUNDS`.
        budget: Seconds after which no new round starts, unless ``rounds`` is set.
        synchronize: Waits until the device has finished its work.
        clock: Returns the time in seconds.

    Returns:
        For each work the seconds per call of each round.
    """
    samples: list[list[float]] = [[] for _ in works]
    start = clock()
    for done in range(rounds or MAX_ROUNDS):
        if rounds is None and done >= MIN_ROUNDS and clock() - start >= budget:
            break
        for prepared, times in zip(works, samples, strict=True):
            times.append(_sample(prepared, synchronize, clock))
    return samples


def _sample(
    prepared: PreparedWork, synchronize: Callable[[], None], clock: Callable[[], float]
) -> float:
    """Return the seconds per call, including the device's work, or as the work itself returns."""
    start = clock()
    returned = [prepared.work() for _ in range(prepared.calls)]
    synchronize()
    total = clock() - start
    parts = [seconds for seconds in returned if seconds is not None]
    return (sum(parts) if parts else total) / prepared.calls


class TimingSpread(NamedTuple):
    """Summary of numbers.

    Attributes:
        median: Median.
        p10: 10th percentile.
        p90: 90th percentile.
    """

    median: float
    p10: float
    p90: float


def timing_spread(values: Sequence[float]) -> TimingSpread:
    """Return median, 10th and 90th percentile, with linear interpolation.

    >>> timing_spread([4.0, 1.0, 2.0, 3.0, 5.0])
    TimingSpread(median=3.0, p10=1.4, p90=4.6)
    """
    p10, median, p90 = np.percentile(values, [10, 50, 90]).tolist()
    return TimingSpread(median, p10, p90)


def ratios(baseline: Sequence[float], own: Sequence[float]) -> list[float]:
    """Return the speedup over a baseline, round by round: a slow round is slow for both."""
    return [reference / seconds for reference, seconds in zip(baseline, own, strict=True)]
