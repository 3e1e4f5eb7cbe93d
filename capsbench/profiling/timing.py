"""How long a call takes on this device."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

WARM = 2  # calls that are not timed: in them kernels are compiled and chosen, and memory is claimed


def seconds_per_call(call: Callable[[], object], device: str, repeats: int) -> list[float]:
    """Time a call again and again, after two calls that are not timed.

    What else the machine does at the time slows it down: take the median.

    Args:
        call: What is timed, until the device has done it.
        device: Such as ``cpu``, ``cuda:0`` or ``mps``.
        repeats: How many calls are timed.

    Returns:
        Wall time of each, in seconds.
    """
    seconds = []
    for _ in range(WARM + repeats):
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return seconds[WARM:]


def synchronize(device: str) -> None:
    """Wait until a device has done what it was given; a CPU always has."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize()
    if kind == "mps":
        torch.mps.synchronize()
