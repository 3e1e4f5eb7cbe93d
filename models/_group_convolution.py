"""Convolutions on p4, the group of shifts and quarter turns (Cohen and Welling 2016).

A map on p4 has four orientations: its channels (B, 4 D, H, W) hold those of each feature next to
each other. Orientation r is the response to filters rotated counter-clockwise by r quarter turns.
If the image rotates, the map rotates and its orientations are cyclically permuted: `rotate_p4`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.capsules.relative_error import max_or_nan, max_relative_error
from capsbench.representations import permute_orientations

TURNS = (1, 2, 3)  # quarter turns other than the identity
PLANE = (-2, -1)


def rotate_p4(features: Tensor, turns: int) -> Tensor:
    """Rotate a p4 map as a rotation of the image does (Cohen and Welling 2016, section 4.4).

    Args:
        features: (B, 4 D, H, W).
        turns: Quarter turns, counter-clockwise.

    Returns:
        (B, 4 D, H, W), or (B, 4 D, W, H) after an odd number of turns.
    """
    orientations = permute_orientations(features.unflatten(1, (-1, 4)), turns, dim=2)
    return torch.rot90(orientations.flatten(1, 2), turns, PLANE)


class LiftingConvolution(nn.Conv2d):
    """Convolution from an image to a p4 map (Cohen and Welling 2016, section 6.1), without bias.

    The map has the size of the image.

    Args:
        in_channels: C of the image.
        features: D of the p4 map.
        kernel: Width of the filters, odd.
    """

    def __init__(self, in_channels: int, features: int, *, kernel: int) -> None:
        super().__init__(in_channels, features, kernel, padding=kernel // 2, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to a p4 map (B, 4 D, H, W)."""
        filters = torch.stack([torch.rot90(self.weight, r, PLANE) for r in range(4)], dim=1)
        return F.conv2d(images, filters.flatten(0, 1), padding=self.padding)

    @torch.no_grad()
    def check_equivariance(self, images: Tensor) -> float:
        """Check that rotating square images (B, C, N, N) rotates the map (article, eq. 3).

        Returns:
            The largest relative error over the three turns, about the rounding of the dtype.
        """
        expected = self(images)
        return max_or_nan(
            *(
                max_relative_error(
                    self(torch.rot90(images, turns, PLANE)), rotate_p4(expected, turns)
                )
                for turns in TURNS
            )
        )


class P4Convolution(nn.Conv2d):
    """Convolution from a p4 map to a p4 map (Cohen and Welling 2016, section 6.1), without bias.

    The filters of orientation r are the learned ones, rotated by r quarter turns, with orientations
    cyclically permuted by r. The map keeps its size.

    Args:
        in_features: D of the input map.
        features: D' of the output map.
        kernel: Width of the filters, odd.
    """

    def __init__(self, in_features: int, features: int, *, kernel: int) -> None:
        super().__init__(4 * in_features, features, kernel, padding=kernel // 2, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map a p4 map (B, 4 D, H, W) to a p4 map (B, 4 D', H, W)."""
        filters = torch.stack([rotate_p4(self.weight, turns) for turns in range(4)], dim=1)
        return F.conv2d(features, filters.flatten(0, 1), padding=self.padding)

    @torch.no_grad()
    def check_equivariance(self, features: Tensor) -> float:
        """Check that rotating a square p4 map (B, 4 D, N, N) rotates the output (article, eq. 3).

        Returns:
            The largest relative error over the three turns, about the rounding of the dtype.
        """
        expected = self(features)
        return max_or_nan(
            *(
                max_relative_error(self(rotate_p4(features, turns)), rotate_p4(expected, turns))
                for turns in TURNS
            )
        )


class P4BatchNorm(nn.BatchNorm3d):
    """Batch norm whose statistics are shared by the four orientations of a feature.

    Separate statistics for each orientation would break equivariance to rotation.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Normalise a p4 map (B, 4 D, H, W)."""
        return super().forward(features.unflatten(1, (-1, 4))).flatten(1, 2)


class OrientationPooling(nn.Module):
    """Max-pooling over orientations (article, eq. 1): the result only rotates with the image."""

    def forward(self, features: Tensor) -> Tensor:
        """Map a p4 map (B, 4 D, H, W) to (B, D, H, W)."""
        return features.unflatten(1, (-1, 4)).amax(dim=2)
