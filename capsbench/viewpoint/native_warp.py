"""The warp in C, for images on a processor: several times as fast as torch's `grid_sample`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function

from capsbench.capsules.kernels.native import call, library, problem
from capsbench.capsules.tracing import is_seen_through

SOURCE = Path(__file__).with_name("warp.c")
MARGINS = {"zeros": 1, "border": 0}


def serves(images: Tensor) -> bool:
    """Whether images can be warped here: fp32 without gradient, on a processor with a compiler."""
    return (
        images.device.type == "cpu"
        and images.dtype == torch.float32
        and not images.requires_grad
        and not is_seen_through()
        and problem() is None
    )


def warp(images: Tensor, back: Tensor, size: tuple[int, int], padding: str) -> Tensor:
    """Show images under affine maps, interpolated bilinearly.

    Args:
        images: (N, C, H, W) float32.
        back: (N, 2, 3), from pixels of what is shown to those of the images.
        size: (H', W') of what is shown.
        padding: ``zeros`` or ``border``.

    Returns:
        (N, C, H', W').

    Raises:
        MemoryError: There is none for one image more.
    """
    images = images.contiguous()
    shown = images.new_empty(*images.shape[:2], *size)
    maps = back.to(images.dtype).contiguous()
    shape = (*images.shape, *size)
    with record_function("warp"):  # a profile sees torch's operations only
        failed = call(_library().warp, images, maps, shown, *shape, MARGINS[padding])
    if failed:
        raise MemoryError("no memory for one image more")
    return shown


@cache
def _library() -> Any:
    return library(SOURCE, torch.float32)
