"""Launches of Triton kernels: device, number of programs, and options."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# A Hopper GPU has 132 multiprocessors. Each holds two to four programs at once, limited by
# registers. Six per multiprocessor keep it busy and still leave few partial sums.
PROGRAMS = 6 * 132
WARPS = 4
THREADS = 32 * WARPS  # of a program


def launch(kernel: Any, grid: tuple[int, int], *tensors: Tensor | None, **arguments: Any) -> None:
    """Run a kernel on tensors of one device; they are made contiguous.

    Args:
        kernel: Its arguments are the tensors, followed by the others.
        grid: Number of programs.
        tensors: The first is not None.
        arguments: Numbers, and options of Triton.
    """
    contiguous = [None if tensor is None else tensor.contiguous() for tensor in tensors]
    # Fusion is explicit, since Triton's default will change.
    options = {"num_warps": WARPS, "enable_fp_fusion": True}
    with torch.cuda.device_of(contiguous[0]):
        kernel[grid](*contiguous, **options | arguments)


def programs_for_each(count: int, *, waves: int = 1) -> int:
    """Return the number of programs per item; more waves are for launches without partial sums."""
    return max(1, waves * PROGRAMS // max(1, count))


def power_of_two(number: int) -> int:
    """Return the smallest power of two that is not below a number: a block length in Triton."""
    return 1 << (number - 1).bit_length()
