"""Launches of Triton kernels: on which device, in how many programs, of what size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# A multiprocessor of a Hopper GPU, which has 132, holds two to four programs at once, by their
# registers: so many keep it busy, and yet leave few partial sums.
PROGRAMS = 6 * 132
WARPS = 4
THREADS = 32 * WARPS  # of a program


def launch(kernel: Any, grid: tuple[int, int], *tensors: Tensor | None, **arguments: Any) -> None:
    """Run a kernel on tensors of one device, which are made contiguous.

    Args:
        kernel: Its arguments are the tensors, and then the others.
        grid: How many programs there are.
        tensors: The first is not None.
        arguments: Numbers, and options of Triton.
    """
    contiguous = [None if tensor is None else tensor.contiguous() for tensor in tensors]
    options = {"num_warps": WARPS, "enable_fp_fusion": True}  # the default is about to change
    with torch.cuda.device_of(contiguous[0]):
        kernel[grid](*contiguous, **options | arguments)


def programs_for_each(count: int, *, waves: int = 1) -> int:
    """How many programs may share each of some things; more waves are for launches without sums."""
    return max(1, waves * PROGRAMS // max(1, count))


def power_of_two(number: int) -> int:
    """The smallest one that is not smaller: the length of a block in Triton."""
    return 1 << (number - 1).bit_length()
