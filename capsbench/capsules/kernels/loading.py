"""The kernels of a backend, by its name."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from capsbench.capsules.kernels import dynamic_eager, em_eager
from capsbench.capsules.kernels.compiling import compiled, uncompiled

SLICED = {"dynamic": dynamic_eager.EagerKernels, "em": em_eager.EagerKernels}


@cache
def kernels(routing: str, backend: str) -> Any:
    """What makes the passes over the votes.

    Args:
        routing: ``dynamic`` or ``em``.
        backend: Any but the textbook's, which has none.

    Returns:
        `capsbench.capsules.kernels.dynamic.DynamicKernels`, or
        `capsbench.capsules.kernels.em.EMKernels`.
    """
    if backend in ("eager", "compiled"):
        return SLICED[routing](compiled if backend == "compiled" else uncompiled)
    return import_module(f"capsbench.capsules.kernels.{routing}_{backend}")
