"""Capsules that know where they are in the plane: recognition, transformation and generation.

A pose is a position, (x, y), or a frame, the two rows of an affine matrix whose last column is the
position. Its unit is half of the image's longer side, from the image's centre, x to the right and y
down, so that both kinds move by the same matrices (`in_half_sides`) whatever the size of the image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.precision import full_precision
from capsbench.contracts import ImageShape


def in_half_sides(matrices: Tensor, height: int, width: int) -> Tensor:
    """Transformations (N, 3, 3) of pixel coordinates as transformations of poses."""
    half = max(height, width) / 2
    x, y = (width - 1) / 2, (height - 1) / 2
    pixels = matrices.new_tensor([[half, 0, x], [0, half, y], [0, 0, 1]])
    return torch.linalg.inv(pixels) @ matrices @ pixels


@full_precision
def transform(poses: Tensor, transforms: Tensor) -> Tensor:
    """The poses of parts that are moved, T · pose.

    Args:
        poses: (B, J, D): positions (D = 2) or frames (D = 6).
        transforms: (B, 3, 3) from `in_half_sides`.

    Returns:
        (B, J, D).
    """
    columns = poses.shape[-1] // 2
    transforms = transforms.to(poses.dtype).to(poses.device)[:, None]
    linear, translation = transforms[..., :2, :2], transforms[..., :2, 2:]
    # A position is a point; the other columns of a frame are directions, which nothing shifts.
    moved = linear @ poses.unflatten(-1, (2, columns)) + F.pad(translation, (columns - 1, 0))
    return moved.flatten(start_dim=-2)


class Recognition(nn.Module):
    """Recognition units, a hidden layer for each capsule, and the capsules' poses and presences.

    Poses start near the image's centre, frames near the unit frame.

    Args:
        image_shape: (C, H, W).
        capsules: J.
        units: R, hidden units of each capsule; each sees the whole image.
        pose_dim: D, 2 for positions and 6 for frames.
    """

    def __init__(
        self, image_shape: ImageShape, capsules: int, *, units: int, pose_dim: int
    ) -> None:
        super().__init__()
        self.hidden = nn.Linear(math.prod(image_shape), capsules * units)
        # Presences start different, poses nearly alike: what a part is, is not told by where it is.
        spread = torch.tensor(pose_dim * [0.1] + [1.0]) / math.sqrt(units)
        self.heads = nn.Parameter(spread * torch.randn(capsules, units, pose_dim + 1))
        start = torch.eye(2, 3)[:, -pose_dim // 2 :].flatten()
        self.bias = nn.Parameter(F.pad(start, (0, 1)).repeat(capsules, 1))

    def forward(self, images: Tensor) -> Capsules:
        """Images (B, C, H, W) to poses (B, J, D) and presences (B, J)."""
        units = self.hidden(images.flatten(start_dim=1)).relu()
        return self._outputs(units.unflatten(-1, self.heads.shape[:2]))

    @full_precision
    def _outputs(self, units: Tensor) -> Capsules:
        heads, bias = self.heads.to(units.dtype), self.bias.to(units.dtype)
        numbers = torch.einsum("bjr,jrd->bjd", units, heads) + bias
        return Capsules(numbers[..., :-1], numbers[..., -1].sigmoid())


class Generation(nn.Module):
    """Generation units, a hidden layer for each capsule, which draw an image together.

    What a capsule draws counts as much as it is present; the contributions are added up, and a
    sigmoid makes pixels of the sum.

    Args:
        image_shape: (C, H, W).
        capsules: J.
        units: G, hidden units of each capsule.
        pose_dim: D.
    """

    def __init__(
        self, image_shape: ImageShape, capsules: int, *, units: int, pose_dim: int
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        # Views move poses by tenths: steep units tell them apart from the beginning.
        self.heads = nn.Parameter(4 * torch.randn(capsules, pose_dim, units))
        self.bias = nn.Parameter(torch.randn(capsules, units))
        self.pixels = nn.Linear(capsules * units, math.prod(image_shape))

    def forward(self, capsules: Capsules) -> Tensor:
        """Poses (B, J, D) and presences (B, J) to images (B, C, H, W) in [0, 1]."""
        # Poses and presences are single precision at least, the weights may be less.
        poses, presences = (values.to(self.heads.dtype) for values in capsules)
        units = torch.einsum("bjd,jdg->bjg", poses, self.heads) + self.bias
        weighted = presences[..., None] * units.relu()
        image: Tensor = self.pixels(weighted.flatten(start_dim=1)).sigmoid()
        return image.unflatten(-1, self.image_shape)
