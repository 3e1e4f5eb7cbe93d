"""Wall time of calls on a device."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

WARMUP_CALLS = 2  # not timed: they compile and select kernels and allocate memory


def seconds_per_call(
    call: Callable[[], object],
    device: str,
    repeats: int,
    prepare: Callable[[], object] = lambda: None,
) -> list[float]:
    """Time repeated calls after two untimed ones.

    Other processes slow single calls down: use the median.

    Args:
        call: Function to time, including the device's work.
        device: Device, such as ``cpu``, ``cuda:0`` or ``mps``.
        repeats: Number of timed calls.
        prepare: Function that is called before each of them and is not timed.

    Returns:
        Wall time of each call, in seconds.
    """
    seconds = []
    for _ in range(WARMUP_CALLS + repeats):
        prepare()
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return seconds[WARMUP_CALLS:]


def synchronize(device: str) -> None:
    """Wait until a device has finished its work; return immediately for a CPU."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize()
    if kind == "mps":
        torch.mps.synchronize()
