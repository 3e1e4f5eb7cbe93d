"""torch.compile for small functions with a few different input shapes."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

from capsbench.capsules.kernels.code_cache import code_folder

F = TypeVar("F", bound=Callable[..., Any])


class Transform(Protocol):
    """A function that returns an equivalent function."""

    def __call__(self, function: F, /) -> F:
        """Return the equivalent function."""


def uncompiled(function: F, /) -> F:
    """Return the function unchanged."""
    return function


def compiled(function: F, /) -> F:
    """Return a function that is compiled separately for each combination of shapes and dtypes.

    torch.compile stores at most eight variants with the function's code, and treats a size that has
    changed once as dynamic. Layers of one network have different sizes that never change. So each
    combination has a separate copy of the code.
    """
    copies: dict[tuple[Any, ...], Callable[..., Any]] = {}

    @wraps(function)
    def dispatch(*args: Any) -> Any:
        key = tuple(
            (x.shape, x.dtype, x.device) if isinstance(x, Tensor) else x is None for x in args
        )
        if key not in copies:
            # By default torch loads code from a folder in /tmp whose name other users can take.
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(code_folder("torch")))
            copy = FunctionType(
                function.__code__.replace(),
                function.__globals__,
                function.__name__,
                function.__defaults__,
                function.__closure__,
            )
            copies[key] = torch.compile(copy, dynamic=False, fullgraph=True)
        # Kernels are not differentiated; detached arguments need no variant for requires_grad.
        return copies[key](*(x.detach() if isinstance(x, Tensor) else x for x in args))

    return cast(F, dispatch)
