"""Images for networks that take more channels than the images have."""

from __future__ import annotations

import torch
from torch import Tensor, nn

COLOR = 3


def channels_taken(module: nn.Module) -> int | None:
    """Return the number of input channels of a module's first convolution; None without any.

    Convolutions of TorchScript and of exported modules are known by their weights alone. A script
    without such weights, which are constants once it is frozen, is taken as one for color images.
    """
    for each in module.modules():
        if isinstance(each, nn.Conv2d):
            return each.in_channels
    weights = (weight for weight in module.parameters() if weight.dim() == 4)
    unknown = COLOR if isinstance(module, torch.jit.ScriptModule) else None
    return next((weight.shape[1] for weight in weights), unknown)


def repeat_channels(images: Tensor, channels: int) -> Tensor:
    """Repeat the channels of images in turn.

    A grey image is repeated thrice for a network of color images, and a stereo pair becomes left,
    right, left.

    Args:
        images: (B, C, H, W).
        channels: N, not fewer than C.

    Returns:
        (B, N, H, W); the images themselves if they have N channels.
    """
    own = images.shape[1]
    if own == channels:
        return images
    return images.repeat(1, -(-channels // own), 1, 1)[:, :channels]
