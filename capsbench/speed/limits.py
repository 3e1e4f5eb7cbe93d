"""Measured limits of this machine: rates of matrix products and copies."""

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
class LimitSizes:
    """Sizes of the measured products and copies.

    Attributes:
        products: (M, K, N) of each matrix product; the fastest one counts.
        copy_bytes: Size of the copied array, far larger than any cache.
    """

    products: tuple[tuple[int, int, int], ...]
    copy_bytes: int


# A square product, and Sabour's second convolution as a matrix product (batch 32 on a CPU): on a
# shared machine either one may be faster.
SIZES = {
    "cpu": LimitSizes(products=((2048, 2048, 2048), (1152, 20736, 256)), copy_bytes=2**28),
    "cuda": LimitSizes(products=((8192, 8192, 8192), (4608, 20736, 256)), copy_bytes=2**30),
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
    device: str, precisions: tuple[Precision, ...], sizes: LimitSizes | None = None
) -> Limits:
    """Measure the limits of a device, each as the best of several runs.

    float32 products use torch's setting as in training, by default without TF32.

    Args:
        device: ``cpu`` or ``cuda``.
        precisions: Precisions for which the device has instructions.
        sizes: Sizes of products and copies; by default `SIZES` of the device.
    """
    sizes = sizes or SIZES[device]
    matmul = {
        precision: max(
            2 * m * k * n / _product_seconds(m, k, n, DTYPES[precision], device)
            for m, k, n in sizes.products
        )
        for precision in precisions
    }
    source = torch.zeros(sizes.copy_bytes, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    seconds = _best(lambda: target.copy_(source), device)
    return Limits(matmul, 2 * sizes.copy_bytes / seconds)


def _product_seconds(m: int, k: int, n: int, dtype: torch.dtype, device: str) -> float:
    left = torch.randn(m, k, device=device).to(dtype)
    right = torch.randn(k, n, device=device).to(dtype)
    result = left @ right
    return _best(lambda: torch.mm(left, right, out=result), device)


def _best(call: Callable[[], object], device: str) -> float:
    """Return the shortest of several times, in seconds."""
    call()
    return min(_seconds(call, device) for _ in range(REPEATS))


def _seconds(call: Callable[[], object], device: str) -> float:
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start
