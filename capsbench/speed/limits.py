"""What this machine can do at best: matrix products and copies, measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from capsbench.profiling.timing import synchronize
from capsbench.speed.rows import Precision

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
REPEATS = 7


@dataclass(frozen=True)
class Extent:
    """How large the measured products and copies are.

    Attributes:
        products: (M, K, N) of each matrix product; the fastest one counts.
        copied: Bytes of the array that is copied, far more than any cache holds.
    """

    products: tuple[tuple[int, int, int], ...]
    copied: int


# The CPU's are one square and the shape of Sabour's second convolution as a matrix product, batch
# 32: on a shared machine sometimes one and sometimes the other is fastest.
EXTENTS = {
    "cpu": Extent(products=((2048, 2048, 2048), (1152, 20736, 256)), copied=2**28),
    "cuda": Extent(products=((8192, 8192, 8192), (4608, 20736, 256)), copied=2**30),
}


@dataclass(frozen=True)
class Limits:
    """Upper limits of a machine.

    Attributes:
        matmul: FLOPs per second of a large matrix product, by precision.
        copy: Bytes read and written per second by a copy of a large array.
    """

    matmul: Mapping[Precision, float]
    copy: float


def measure_limits(
    device: str, precisions: tuple[Precision, ...], extent: Extent | None = None
) -> Limits:
    """Measure the limits of a device, each as the best of several runs.

    Products are those that a training uses: float32 as torch is set, without TF32 by default.

    Args:
        device: ``cpu`` or ``cuda``.
        precisions: Those in which the device has instructions.
        extent: How large products and copies are; those of `EXTENTS` if left out.
    """
    extent = extent or EXTENTS[device]
    matmul = {
        precision: max(
            2 * m * k * n / _product_seconds(m, k, n, DTYPES[precision], device)
            for m, k, n in extent.products
        )
        for precision in precisions
    }
    source = torch.zeros(extent.copied, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    seconds = _best(lambda: target.copy_(source), device)
    return Limits(matmul, 2 * extent.copied / seconds)


def _product_seconds(m: int, k: int, n: int, dtype: torch.dtype, device: str) -> float:
    left = torch.randn(m, k, device=device).to(dtype)
    right = torch.randn(k, n, device=device).to(dtype)
    result = left @ right
    return _best(lambda: torch.mm(left, right, out=result), device)


def _best(call: Callable[[], object], device: str) -> float:
    """The shortest of several times, in seconds."""
    call()
    return min(_seconds(call, device) for _ in range(REPEATS))


def _seconds(call: Callable[[], object], device: str) -> float:
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start
