"""Single precision for computations that need it: routing statistics and losses."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from itertools import chain
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function outside of autocast, with half-precision arguments converted to float32.

    Variances and sums over thousands of votes are meaningless with eight bits of mantissa. Float32
    and float64 arguments are unchanged.
    """

    @wraps(function)
    def widened(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(x for x in chain(args, kwargs.values()) if isinstance(x, Tensor)).device
        has_autocast = torch.amp.is_autocast_available(device.type)  # the meta device has none
        with torch.autocast(device.type, enabled=False) if has_autocast else nullcontext():
            wide = {name: _widen(value) for name, value in kwargs.items()}
            return function(*map(_widen, args), **wide)

    return widened


def _widen(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value
