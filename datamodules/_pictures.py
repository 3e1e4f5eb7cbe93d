"""Recorded pictures as tensors: channels first, optionally grey, and smaller."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from capsbench.errors import UserError

CHUNK = 500  # images per step


def to_tensor(stored: NDArray[Any], *, colour: bool, name: str) -> Tensor:
    """Return pictures as a tensor, in colour or grey.

    Args:
        stored: (N, H, W), (N, H, W, 1) or (N, H, W, 3) uint8.
        colour: Keep three channels; if False, return their rounded mean.
        name: Name of the set, for messages.

    Returns:
        (N, 3, H, W) or (N, 1, H, W) uint8.

    Raises:
        UserError: Colour is requested of grey pictures.
    """
    images = torch.from_numpy(stored)
    images = images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2)
    grey = images.shape[1] == 1
    if grey and colour:
        raise UserError(f"the images of {name} are grey: leave colour out")
    if grey or colour:
        return images.contiguous()
    means = [(batch.sum(1, keepdim=True) + 1) // 3 for batch in images.split(CHUNK)]
    return torch.cat(means).to(torch.uint8)


def shrink(images: Tensor, size: int, name: str) -> Tensor:
    """Return the rounded means of boxes of pixels.

    Args:
        images: (N, C, H, W) uint8.
        size: Side of the result, in pixels; the boxes overlap if it does not divide H and W.
        name: Name of the set, for messages.

    Returns:
        (N, C, size, size) uint8.

    Raises:
        UserError: The images are smaller than ``size``.
    """
    height, width = images.shape[-2:]
    if size > min(height, width):
        raise UserError(f"size of {name} is at most {min(height, width)} pixels; got {size}")
    if (height, width) == (size, size):
        return images
    means = [adaptive_avg_pool2d(batch.double(), size) for batch in images.split(CHUNK)]
    return torch.cat([batch.round_().to(torch.uint8) for batch in means])
