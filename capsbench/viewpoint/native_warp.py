"""The warp in C, for images on a processor: several times as fast as torch's `grid_sample`."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function

from capsbench.capsules.kernels.native import call, library, problem
from capsbench.capsules.tracing import is_seen_through

SOURCE = Path(__file__).with_name("warp.c")
PIXELS = {
    torch.float32: {"PIXEL": "float", "SCALE": 1},
    torch.uint8: {"PIXEL": "uint8_t", "SCALE": 255},
}
MARGINS = {"zeros": 1, "border": 0}


def serves(images: Tensor) -> bool:
    """Whether images can be warped here, on a processor with a compiler.

    They are fp32 without a gradient, or uint8.
    """
    return (
        images.device.type == "cpu"
        and images.dtype in PIXELS
        and not images.requires_grad
        and not is_seen_through()
        and problem() is None
    )


def warp(images: Tensor, back: Tensor, size: tuple[int, int], padding: str) -> Tensor:
    """Show images under affine maps, interpolated bilinearly.

    Args:
        images: (N, C, H, W) float32, or uint8, which stands for [0, 1].
        back: (N, 2, 3), from pixels of what is shown to those of the images.
        size: (H', W') of what is shown.
        padding: ``zeros`` or ``border``.

    Returns:
        (N, C, H', W') float32.

    Raises:
        MemoryError: There is none for one image more.
    """
    images = images.contiguous()
    shown = torch.empty(*images.shape[:2], *size)
    maps = back.float().contiguous()
    shape = (*images.shape, *size)
    with record_function("warp"):  # a profile sees torch's operations only
        pixels = ctypes.c_void_p(images.data_ptr())
        failed = call(_library(images.dtype).warp, pixels, maps, shown, *shape, MARGINS[padding])
    if failed:
        raise MemoryError("no memory for one image more")
    return shown


@cache
def _library(pixels: torch.dtype) -> Any:
    return library(SOURCE, torch.float32, **PIXELS[pixels])
