"""Peak memory of a call: what it has in use at one time, beyond what was in use before."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable
from itertools import accumulate

import torch
from torch.autograd.profiler import profile

MEMORY_EVENT = "[memory]"


def peak_bytes(call: Callable[[], object], device: str) -> int:
    """Most bytes that a call has in use at one time, beyond what was in use before it.

    On a CPU torch's profiler tells of every allocation, native kernels' included. The size of the
    process is no measure there: it hangs on when the C library gives memory back. What was in use
    before and is freed during the call is not subtracted on a CPU: a call should end as it begins.

    Args:
        call: Should have been called before, so that what it makes only once is there.
        device: ``cpu`` or ``cuda``.
    """
    if torch.device(device).type == "cuda":
        gc.collect()  # what is left over must not be freed during the call
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it announces itself on stderr
    with profile(use_kineto=True, profile_memory=True) as recorded:
        call()
    assert recorded.kineto_results is not None
    events = [e for e in recorded.kineto_results.events() if e.name() == MEMORY_EVENT]
    events.sort(key=lambda event: event.start_ns())
    return running_peak(event.nbytes() for event in events)


def running_peak(changes: Iterable[int]) -> int:
    """The largest sum of a beginning of changes; 0 if all are negative.

    >>> running_peak([100, 50, -100, 20])
    150
    """
    return max(accumulate(changes, initial=0))
