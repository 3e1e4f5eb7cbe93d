"""Backends: the forms in which a routing can be computed, which all give the same result.

| name | what it is |
| --- | --- |
| textbook | the equations on stored votes, differentiated by autograd |
| eager | matrix products in torch, a slice of the votes at a time |
| compiled | the same, each slice compiled by torch.compile |
| native | C for processors, compiled when first used; votes are made in the first-level cache |
| triton | Triton for GPUs; votes are made in registers |

The textbook is what the others are tested on. They have a gradient of their own, of first order,
which makes the votes again: for derivatives of higher order take the textbook.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import get_args

import torch
from torch import Tensor, nn

from capsbench.capsules.backend_names import BACKENDS, Backend
from capsbench.capsules.kernels import native
from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.tracing import is_seen_through
from capsbench.errors import UserError, unknown

FEW_VOTES = 2**18  # numbers in all votes below which no kernel is worth its compilation
# Numbers in the votes of one child beyond which a kernel's stack, or registers, do not hold them.
WIDEST = {"native": 4096, "triton": 512}

_taken: set[str] = set()


def use_backend(model: nn.Module, backend: Backend) -> None:
    """Have all routing layers of a model computed by one backend.

    Raises:
        UserError: There is no such backend.
    """
    if backend not in get_args(Backend):
        raise unknown("routing backend", backend, get_args(Backend))
    for module in model.modules():
        if isinstance(module, RoutingLayer):
            module.backend = backend


@contextmanager
def routing_backend(model: nn.Module, backend: Backend) -> Iterator[None]:
    """Have all routing layers of a model computed by one backend, for a while."""
    layers = [module for module in model.modules() if isinstance(module, RoutingLayer)]
    before = [layer.backend for layer in layers]
    use_backend(model, backend)
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer.backend = was


def problem(backend: str, device: torch.device) -> str | None:
    """Why a backend cannot compute on a device, in a few words; None where it can."""
    match backend:
        case "textbook" | "eager":
            return None
        case "compiled":
            return _compile_problem(device.type)
        case "native":
            return native.problem() if device.type == "cpu" else "C kernels are for the CPU"
        case "triton":
            return _triton_problem(device.type)
    raise unknown("routing backend", backend, BACKENDS)


def require_backend(backend: str, device: torch.device) -> None:
    """Refuse a backend that cannot compute on a device.

    Raises:
        UserError: It cannot, and why; ``auto`` always can.
    """
    reason = None if backend == "auto" else problem(backend, device)
    if reason is not None:
        raise UserError(f"routing by '{backend}' is not possible here: {reason}; take 'auto'")


def choose(backend: str, tensors: Sequence[Tensor], votes: int, width: int) -> str:
    """The backend that computes a routing.

    ``auto`` takes ``triton`` on a CUDA device and ``native`` on the CPU where they can be had, and
    else ``eager``, of which it tells once; ``eager`` also for few votes, and for very many parents.
    Under torch.compile and torch.func, which see through plain torch alone, it takes ``textbook``.

    Args:
        backend: The one asked for.
        tensors: All from which votes are made and routed.
        votes: Numbers in all votes.
        width: Numbers in the votes of one child.

    Raises:
        UserError: The tensors have different dtypes or devices, or the backend asked for cannot
            compute here.
    """
    chosen = _choose(backend, tensors, votes, width)
    if not torch.compiler.is_compiling():
        _taken.add(chosen)
    return chosen


def taken() -> list[str]:
    """The backends by which this process has computed routings so far."""
    return sorted(_taken)


def _choose(backend: str, tensors: Sequence[Tensor], votes: int, width: int) -> str:
    if len(kinds := {(tensor.dtype, tensor.device) for tensor in tensors}) > 1:
        told = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
        raise UserError(f"routing needs tensors of one dtype on one device; got {told}")
    device = tensors[0].device
    if backend != "auto":
        require_backend(backend, device)
        if width > WIDEST.get(backend, width):
            raise UserError(
                f"routing by '{backend}' takes at most {WIDEST[backend]} numbers in the votes of a "
                f"child; got {width}; take 'auto'"
            )
        return backend
    if is_seen_through():
        return "textbook"
    best = {"cpu": "native", "cuda": "triton"}.get(device.type)
    if best is None or votes < FEW_VOTES or width > WIDEST[best]:
        return "eager"
    reason = problem(best, device)
    if reason is None:
        return best
    _tell(f"capsbench: routing is computed by plain matrix products, since {reason}")
    return "eager"


@cache
def _tell(message: str) -> None:
    """Once in a process."""
    logging.getLogger("capsbench").warning(message)


@cache
def _compile_problem(device: str) -> str | None:
    if device == "cuda":
        return _triton_problem(device)
    if device != "cpu":
        return f"torch.compile is not used on {device} devices"
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "torch.compile finds no C++ compiler"
    return None


@cache
def _triton_problem(device: str) -> str | None:
    if find_spec("triton") is None:
        return "the package triton is not installed"
    if device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return "Triton is for CUDA devices (elsewhere set TRITON_INTERPRET=1, to test)"
    return None
