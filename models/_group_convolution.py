"""Convolutions on the groups p4 and p4m (Cohen and Welling 2016).

p4 has shifts and quarter turns. A map on p4 has four orientations: its channels (B, 4 D, H, W) hold
those of each feature next to each other. Orientation r is the response to filters rotated
counter-clockwise by r quarter turns. If the image rotates, the map rotates and its orientations are
cyclically permuted: `rotate_p4`.

p4m has reflections as well. Each feature of a map on p4m has eight orientations (B, 8 D, H, W):
first the four of p4, then the responses to filters that are mirrored left to right before they are
rotated. A rotation permutes both fours in the same way. A reflection exchanges them and reverses
the sense of rotation: `mirror_p4m`.
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


def mirror_p4m(features: Tensor) -> Tensor:
    """Mirror a p4m map left to right, as a reflection of the image does.

    Args:
        features: (B, 8 D, H, W).

    Returns:
        (B, 8 D, H, W). With m the reflection and r a quarter turn, m rᵏ mʲ = r⁻ᵏ mʲ⁺¹.
    """
    orientations = features.unflatten(1, (-1, 2, 4)).flip(2)
    backwards = orientations[:, :, :, [0, 3, 2, 1]]
    return backwards.flatten(1, 3).flip(-1)


class LiftingConvolution(nn.Conv2d):
    """Convolution from an image to a map on p4 or p4m (Cohen and Welling 2016, section 6.1).

    It has no bias. The map has the size of the image.

    Args:
        in_channels: C of the image.
        features: D of the map.
        kernel: Width of the filters, odd.
        reflections: p4m in place of p4.
    """

    def __init__(
        self, in_channels: int, features: int, *, kernel: int, reflections: bool = False
    ) -> None:
        super().__init__(in_channels, features, kernel, padding=kernel // 2, bias=False)
        self.reflections = reflections

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to a map (B, 4 D, H, W), or (B, 8 D, H, W) with reflections."""
        filters = [self.weight, self.weight.flip(-1)] if self.reflections else [self.weight]
        turned = [torch.rot90(each, r, PLANE) for each in filters for r in range(4)]
        return F.conv2d(images, torch.stack(turned, dim=1).flatten(0, 1), padding=self.padding)

    @torch.no_grad()
    def check_equivariance(self, images: Tensor) -> float:
        """Check that turning square images (B, C, N, N) turns the map (article, eq. 3).

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
    """Convolution from a map on p4 or p4m to another (Cohen and Welling 2016, section 6.1).

    The filters of orientation r are the learned ones, rotated by r quarter turns, with orientations
    cyclically permuted by r; on p4m those of the other four are mirrored before. There is no bias.
    The map keeps its size.

    Args:
        in_features: D of the input map.
        features: D' of the output map.
        kernel: Width of the filters, odd.
        reflections: p4m in place of p4.
    """

    def __init__(
        self, in_features: int, features: int, *, kernel: int, reflections: bool = False
    ) -> None:
        orientations = 8 if reflections else 4
        super().__init__(
            orientations * in_features, features, kernel, padding=kernel // 2, bias=False
        )
        self.reflections = reflections

    def forward(self, features: Tensor) -> Tensor:
        """Map a p4 map (B, 4 D, H, W) to (B, 4 D', H, W), or a p4m map (B, 8 D, H, W)."""
        filters = [self.weight, mirror_p4m(self.weight)] if self.reflections else [self.weight]
        turned = [rotate_p4(each, turns) for each in filters for turns in range(4)]
        return F.conv2d(features, torch.stack(turned, dim=1).flatten(0, 1), padding=self.padding)

    @torch.no_grad()
    def check_equivariance(self, features: Tensor) -> float:
        """Check that turning a square map (B, 4 D or 8 D, N, N) turns the output (article, eq. 3).

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
    """Batch norm whose statistics are shared by all orientations of a feature.

    Separate statistics for each orientation would break equivariance to rotation.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Normalise a map (B, 4 D, H, W) on p4, or (B, 8 D, H, W) on p4m."""
        return super().forward(features.unflatten(1, (self.num_features, -1))).flatten(1, 2)


class OrientationPooling(nn.Module):
    """Max-pooling over orientations (article, eq. 1): the result only moves with the image.

    Args:
        orientations: 4 on p4, 8 on p4m.
    """

    def __init__(self, orientations: int = 4) -> None:
        super().__init__()
        self.orientations = orientations

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, 4 D, H, W) or (B, 8 D, H, W) to (B, D, H, W)."""
        return features.unflatten(1, (-1, self.orientations)).amax(dim=2)
