"""Images of mean 0 and variance 1."""

from __future__ import annotations

from torch import Tensor

STANDARDIZED = (
    "convolutions move with the image (LeCun et al. 1998), as long as nothing leaves the image, "
    "whose pixels are standardised"
)


def standardize(images: Tensor) -> Tensor:
    """Standardise images (B, C, H, W) to mean 0 and variance 1 over all channels (Hinton 2018, 5).

    The standard deviation is clamped to at least 1 / sqrt(C H W), so that a uniform image becomes
    zero.
    """
    flat = images.flatten(start_dim=1)
    floor = 1 / flat.shape[1]
    centred = flat - flat.mean(dim=1, keepdim=True)
    variance = centred.square().mean(dim=1, keepdim=True)
    return (centred * variance.clamp_min(floor).rsqrt()).view_as(images)
