"""Convolutions on p4, the group of shifts and quarter turns (Cohen and Welling 2016).

A map on p4 has four orientations: its channels (B, 4 D, H, W) hold those of each feature next to
each other, orientation r being the response to filters turned counter-clockwise by r quarter turns.
When the image turns, such a map turns and its orientations move on by one: `turned`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.capsules.deviation import deviation, largest

TURNS = (1, 2, 3)  # those that change something
PLANE = (-2, -1)


def turned(features: Tensor, turns: int) -> Tensor:
    """What becomes of a p4 map when the image turns (Cohen and Welling 2016, section 4.4).

    Args:
        features: (B, 4 D, H, W).
        turns: Quarter turns, counter-clockwise.

    Returns:
        (B, 4 D, H, W), or (B, 4 D, W, H) after an odd number of turns.
    """
    orientations = features.unflatten(1, (-1, 4)).roll(turns, dims=2)
    return torch.rot90(orientations.flatten(1, 2), turns, PLANE)


class LiftingConvolution(nn.Conv2d):
    """From an image to a p4 map (Cohen and Welling 2016, section 6.1), without a bias.

    The map is as large as the image.

    Args:
        in_channels: C of the image.
        features: D of the p4 map.
        kernel: Width of the filters, odd.
    """

    def __init__(self, in_channels: int, features: int, *, kernel: int) -> None:
        super().__init__(in_channels, features, kernel, padding=kernel // 2, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to a p4 map (B, 4 D, H, W)."""
        filters = torch.stack([torch.rot90(self.weight, r, PLANE) for r in range(4)], dim=1)
        return F.conv2d(images, filters.flatten(0, 1), padding=self.padding)

    @torch.no_grad()
    def check_equivariance(self, images: Tensor) -> float:
        """Does turning square images (B, C, N, N) turn the map: f(T x) = T f(x) (article, eq. 3)?

        Returns:
            The largest deviation over the three turns, about the rounding of the dtype.
        """
        expected = self(images)
        return largest(
            *(
                deviation(self(torch.rot90(images, turns, PLANE)), turned(expected, turns))
                for turns in TURNS
            )
        )


class P4Convolution(nn.Conv2d):
    """From a p4 map to a p4 map (Cohen and Welling 2016, section 6.1), without a bias.

    The filters of orientation r are the learned ones, turned by r quarter turns and moved on by r
    orientations. The map keeps its size.

    Args:
        in_features: D of the map below.
        features: D' of the map above.
        kernel: Width of the filters, odd.
    """

    def __init__(self, in_features: int, features: int, *, kernel: int) -> None:
        super().__init__(4 * in_features, features, kernel, padding=kernel // 2, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """A p4 map (B, 4 D, H, W) to one of (B, 4 D', H, W)."""
        filters = torch.stack([turned(self.weight, turns) for turns in range(4)], dim=1)
        return F.conv2d(features, filters.flatten(0, 1), padding=self.padding)

    @torch.no_grad()
    def check_equivariance(self, features: Tensor) -> float:
        """Does turning a square p4 map (B, 4 D, N, N) turn the map above (article, eq. 3)?

        Returns:
            The largest deviation over the three turns, about the rounding of the dtype.
        """
        expected = self(features)
        return largest(
            *(deviation(self(turned(features, turns)), turned(expected, turns)) for turns in TURNS)
        )


class P4BatchNorm(nn.BatchNorm3d):
    """Batch norm with the statistics of a feature shared by its four orientations.

    Were each normalised on its own, orientations would no longer change places in a turn.
    """

    def forward(self, features: Tensor) -> Tensor:
        """A p4 map (B, 4 D, H, W) to one of the same shape."""
        return super().forward(features.unflatten(1, (-1, 4))).flatten(1, 2)


class OrientationPooling(nn.Module):
    """Max-pooling over the orientations (article, eq. 1): a map that turns, and nothing else."""

    def forward(self, features: Tensor) -> Tensor:
        """A p4 map (B, 4 D, H, W) to (B, D, H, W)."""
        return features.unflatten(1, (-1, 4)).amax(dim=2)
