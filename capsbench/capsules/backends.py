"""Backends: implementations of a routing that all give the same result.

| name | implementation |
| --- | --- |
| textbook | the equations on stored votes, differentiated by autograd |
| eager | matrix products in torch, one slice of the votes at a time |
| compiled | the same, with each slice compiled by torch.compile |
| native | C for CPUs, compiled on first use; votes are computed in the first-level cache |
| triton | Triton for GPUs; votes are computed in registers |

The textbook implementation is the reference in the tests of all others. The others have a
hand-written gradient of first order, which recomputes the votes. Use the textbook implementation
for derivatives of higher order.
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
from capsbench.capsules.tracing import under_transform
from capsbench.errors import UserError, unknown

MIN_KERNEL_VOTES = 2**18  # elements in all votes; below, compiling a kernel does not pay off
# Most elements in the votes of one child that fit on a kernel's stack, or into registers.
MAX_WIDTH = {"native": 4096, "triton": 512}

_recorders: list[set[str]] = []


def use_backend(model: nn.Module, backend: Backend) -> None:
    """Set the backend of all routing layers of a model.

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
    """Set the backend of all routing layers of a model inside a ``with`` block."""
    layers = [module for module in model.modules() if isinstance(module, RoutingLayer)]
    previous = [layer.backend for layer in layers]
    use_backend(model, backend)
    try:
        yield
    finally:
        for layer, name in zip(layers, previous, strict=True):
            layer.backend = name


def unavailable_reason(backend: str, device: torch.device) -> str | None:
    """Return the reason why a backend cannot run on a device, or None if it can."""
    match backend:
        case "textbook" | "eager":
            return None
        case "compiled":
            return _compile_unavailable(device.type)
        case "native":
            return native.unavailable_reason() if device.type == "cpu" else "C kernels need a CPU"
        case "triton":
            return _triton_unavailable(device.type)
    raise unknown("routing backend", backend, BACKENDS)


def require_backend(backend: str, device: torch.device) -> None:
    """Raise an error if a backend cannot run on a device.

    Raises:
        UserError: The backend cannot run; the message has the reason. ``auto`` always can.
    """
    reason = None if backend == "auto" else unavailable_reason(backend, device)
    if reason is not None:
        raise UserError(f"routing backend '{backend}' cannot run here: {reason}; use 'auto'")


def choose(backend: str, tensors: Sequence[Tensor], votes: int, width: int) -> str:
    """Return the name of the backend that computes a routing.

    ``auto`` selects ``triton`` on a CUDA device and ``native`` on the CPU if they are available.
    Otherwise it selects ``eager`` and logs one warning. It also selects ``eager`` for few votes and
    for very many parents. Under torch.compile and torch.func, which can trace plain torch only, it
    selects ``textbook``.

    Args:
        backend: The requested backend.
        tensors: All tensors from which votes are computed and routed.
        votes: Number of elements in all votes.
        width: Number of elements in the votes of one child.

    Raises:
        UserError: The tensors have different dtypes or devices, or the requested backend cannot run
            here.
    """
    selected = _choose(backend, tensors, votes, width)
    if not torch.compiler.is_compiling():
        for used in _recorders:
            used.add(selected)
    return selected


@contextmanager
def recorded_backends() -> Iterator[set[str]]:
    """Collect the backends that compute a routing inside the ``with`` block."""
    used = set[str]()
    _recorders.append(used)
    try:
        yield used
    finally:
        _recorders[:] = [each for each in _recorders if each is not used]


def _choose(backend: str, tensors: Sequence[Tensor], votes: int, width: int) -> str:
    if len(kinds := {(tensor.dtype, tensor.device) for tensor in tensors}) > 1:
        received = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
        raise UserError(f"routing needs tensors of one dtype on one device; got {received}")
    device = tensors[0].device
    if backend != "auto":
        require_backend(backend, device)
        if width > MAX_WIDTH.get(backend, width):
            raise UserError(
                f"routing backend '{backend}' supports at most {MAX_WIDTH[backend]} elements in "
                f"the votes of a child; got {width}; use 'auto'"
            )
        return backend
    if under_transform():
        return "textbook"
    fastest = {"cpu": "native", "cuda": "triton"}.get(device.type)
    if fastest is None or votes < MIN_KERNEL_VOTES or width > MAX_WIDTH[fastest]:
        return "eager"
    reason = unavailable_reason(fastest, device)
    if reason is None:
        return fastest
    _warn_once(f"capsbench: routing runs on the slower 'eager' backend, since {reason}")
    return "eager"


@cache
def _warn_once(message: str) -> None:
    """Log a warning once in a process."""
    logging.getLogger("capsbench").warning(message)


@cache
def _compile_unavailable(device: str) -> str | None:
    if device == "cuda":
        return _triton_unavailable(device)
    if device != "cpu":
        return f"torch.compile is not used on {device} devices"
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "torch.compile has no C++ compiler"
    return None


@cache
def _triton_unavailable(device: str) -> str | None:
    if find_spec("triton") is None:
        return "the package triton is not installed"
    if device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return "Triton needs a CUDA device (for tests set TRITON_INTERPRET=1)"
    return None
