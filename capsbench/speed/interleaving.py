"""Times of several works, taken in turn so that a drift of the machine meets all of them alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from capsbench.speed.rows import Work

FEWEST_ROUNDS, MOST_ROUNDS = 5, 100
SHORTEST_SAMPLE = 0.005  # seconds: far above the clock's resolution and a call's own cost


class Prepared(NamedTuple):
    """A work that is ready to be timed.

    Attributes:
        work: Has been called before, so that whatever is made at the first call is there.
        calls: How many calls are timed together.
    """

    work: Work
    calls: int


def calls_per_sample(seconds: float) -> int:
    """How many calls of so many seconds each a sample takes, so that it is not too short to time.

    >>> calls_per_sample(0.3), calls_per_sample(0.001)
    (1, 5)
    """
    return max(1, math.ceil(SHORTEST_SAMPLE / max(seconds, 1e-6)))


def interleave(
    works: Sequence[Prepared],
    *,
    rounds: int | None,
    budget: float,
    synchronize: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Time works in rounds: A B C, A B C, ...

    Args:
        works: The works.
        rounds: How many rounds; if left out, as many as fit into the budget, from `FEWEST_ROUNDS`
            to `MOST_ROUNDS`.
        budget: Seconds after which no round begins, if the rounds are not given.
        synchronize: Waits until the device has done what it was given.
        clock: Tells seconds.

    Returns:
        For each work its seconds per call, one for each round.
    """
    samples: list[list[float]] = [[] for _ in works]
    start = clock()
    for done in range(rounds or MOST_ROUNDS):
        if rounds is None and done >= FEWEST_ROUNDS and clock() - start >= budget:
            break
        for prepared, taken in zip(works, samples, strict=True):
            taken.append(_sample(prepared, synchronize, clock))
    return samples


def _sample(
    prepared: Prepared, synchronize: Callable[[], None], clock: Callable[[], float]
) -> float:
    """Seconds per call, the device's work included; as the work tells them where it does."""
    start = clock()
    told = [prepared.work() for _ in range(prepared.calls)]
    synchronize()
    total = clock() - start
    parts = [seconds for seconds in told if seconds is not None]
    return (sum(parts) if parts else total) / prepared.calls


class Spread(NamedTuple):
    """Numbers in short.

    Attributes:
        median: The middle one.
        low: The one below which a tenth of them lie.
        high: The one below which nine tenths of them lie.
    """

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median, 10th and 90th percentile, interpolated between neighbours.

    >>> spread([4.0, 1.0, 2.0, 3.0, 5.0])
    Spread(median=3.0, low=1.4, high=4.6)
    """
    low, median, high = np.percentile(values, [10, 50, 90]).tolist()
    return Spread(median, low, high)


def ratios(baseline: Sequence[float], own: Sequence[float]) -> list[float]:
    """How many times as fast as a baseline, round by round: a slow round is slow for both."""
    return [reference / seconds for reference, seconds in zip(baseline, own, strict=True)]
