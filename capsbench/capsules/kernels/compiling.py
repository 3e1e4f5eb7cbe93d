"""torch.compile for small functions that meet tensors of a few shapes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


class Transform(Protocol):
    """What turns a function into one that does the same."""

    def __call__(self, function: F, /) -> F:
        """The other function."""


def uncompiled(function: F, /) -> F:
    """The function as it is."""
    return function


def compiled(function: F, /) -> F:
    """A function that is compiled anew, by itself, for all shapes and dtypes but one dimension.

    torch.compile keeps what it made of a function beside the function's code, eight variants at
    most, and takes a size that has changed for one that always will. Layers of one network have
    different sizes that never change; so each combination has a copy of the code to itself.
    """
    copies: dict[tuple[Any, ...], Callable[..., Any]] = {}

    @wraps(function)
    def chosen(*args: Any) -> Any:
        key = tuple(
            (x.shape, x.dtype, x.device) if isinstance(x, Tensor) else x is None for x in args
        )
        if key not in copies:
            copy = FunctionType(
                function.__code__.replace(),
                function.__globals__,
                function.__name__,
                function.__defaults__,
                function.__closure__,
            )
            copies[key] = torch.compile(copy, dynamic=False, fullgraph=True)
        # A kernel is not differentiated; what its arguments are leaves of must not matter.
        return copies[key](*(x.detach() if isinstance(x, Tensor) else x for x in args))

    return cast(F, chosen)
