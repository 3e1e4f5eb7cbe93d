"""Peak memory of a call, beyond the memory in use before."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable
from itertools import accumulate

import torch
from torch.autograd.profiler import profile

MEMORY_EVENT = "[memory]"


def peak_bytes(call: Callable[[], object], device: str) -> int:
    """Return the peak memory of a call in bytes, beyond the memory in use before it.

    On a CPU torch's profiler reports every allocation, including those of native kernels. The size
    of the process is not used, since it depends on when the C library returns memory. Memory that
    was in use before and is freed during the call is ignored on a CPU.

    Args:
        call: Function to measure; call it once before, so that caches and compiled code exist.
        device: ``cpu`` or ``cuda``.
    """
    gc.collect()  # garbage must not be freed during the call, its size would be subtracted
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # suppresses its messages on stderr
    with profile(use_kineto=True, profile_memory=True) as recorded:
        call()
    assert recorded.kineto_results is not None
    events = [e for e in recorded.kineto_results.events() if e.name() == MEMORY_EVENT]
    events.sort(key=lambda event: event.start_ns())
    return running_peak(event.nbytes() for event in events)


def running_peak(changes: Iterable[int]) -> int:
    """Return the largest cumulative sum of changes, at least 0.

    >>> running_peak([100, 50, -100, 20])
    150
    """
    return max(accumulate(changes, initial=0))
