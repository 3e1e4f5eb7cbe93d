"""Access to the kernels of a backend by its name."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from capsbench.capsules.kernels import dynamic_eager, em_eager
from capsbench.capsules.kernels.compiling import compiled, uncompiled

SLICED = {"dynamic": dynamic_eager.DynamicEagerPasses, "em": em_eager.EMEagerPasses}


@cache
def kernels(routing: str, backend: str) -> Any:
    """Return the implementation of the passes over the votes.

    Args:
        routing: ``dynamic`` or ``em``.
        backend: Any backend except ``textbook``, which has no kernels.

    Returns:
        `capsbench.capsules.kernels.dynamic.DynamicKernels`, or
        `capsbench.capsules.kernels.em.EMKernels`.
    """
    if backend in ("eager", "compiled"):
        return SLICED[routing](compiled if backend == "compiled" else uncompiled)
    return import_module(f"capsbench.capsules.kernels.{routing}_{backend}")
