"""Names of the implementations of a routing; free of torch."""

from __future__ import annotations

from typing import Literal, get_args

Backend = Literal["auto", "textbook", "eager", "compiled", "native", "triton"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)[1:]
