"""Capsules with a pose in the image plane: recognition, transformation and generation.

A pose is a position, (x, y), or a frame, the two rows of an affine matrix whose last column is the
position. The unit is half of the longer side of the image, the origin is the image's centre, x
points right and y down. Both kinds of poses are transformed by the same matrices (`to_pose_units`),
independent of the image size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.precision import full_precision
from capsbench.contracts import ImageShape
from capsbench.representations import Representation
from capsbench.viewpoint.warp import Size


def to_pose_units(matrices: Tensor, height: int, width: int) -> Tensor:
    """Convert transformations (N, 3, 3) of pixel coordinates to transformations of poses."""
    half = max(height, width) / 2
    x, y = (width - 1) / 2, (height - 1) / 2
    pixels = matrices.new_tensor([[half, 0, x], [0, half, y], [0, 0, 1]])
    return torch.linalg.inv(pixels) @ matrices @ pixels


@full_precision
def transform_poses(poses: Tensor, transforms: Tensor) -> Tensor:
    """Return the poses of transformed parts, T · pose.

    A tilt moves a position as it moves the point there, and the directions of a frame by the
    derivative of the homography at the position. Transformations therefore compose. A part that is
    moved behind the camera is drawn upside down.

    Args:
        poses: (B, J, D): positions (D = 2) or frames (D = 6).
        transforms: (B, 3, 3) from `to_pose_units`.

    Returns:
        (B, J, D).
    """
    columns = poses.shape[-1] // 2
    transforms = transforms.to(poses.dtype).to(poses.device)[:, None]
    linear, translation = transforms[..., :2], transforms[..., 2:]
    # A position is a point; the other columns of a frame are directions, unaffected by shifts.
    moved = linear @ poses.unflatten(-1, (2, columns)) + F.pad(translation, (columns - 1, 0))
    rows, depths = moved.split([2, 1], dim=-2)  # depths are 0 and 1, unless a view tilts
    depth = depths[..., -1:]
    position = rows[..., -1:] / depth
    directions = (rows[..., :-1] - position * depths[..., :-1]) / depth
    return torch.cat([directions, position], dim=-1).flatten(start_dim=-2)


@dataclass(frozen=True, kw_only=True)
class MovedPoses(Representation):
    """Positions and frames that move as the image does, ρ(T) pose = T · pose; `transform_poses`.

    Attributes:
        image_size: (height, width) of the images in pixels.
    """

    image_size: Size

    def apply(self, features: Tensor, matrix: Tensor) -> Tensor:
        """Return the transformed poses (N, J, D, 1, 1)."""
        poses = features.flatten(2)
        transforms = to_pose_units(matrix[None], *self.image_size)
        return transform_poses(poses, transforms).view_as(features)


class Recognition(nn.Module):
    """Recognition units, a hidden layer for each capsule, and the capsules' poses and presences.

    Initial poses are near the image's centre, initial frames near the unit frame.

    Args:
        image_shape: (C, H, W).
        capsules: J, the number of capsules.
        units: R, hidden units of each capsule, connected to the whole image.
        pose_dim: D, 2 for positions and 6 for frames.
    """

    def __init__(
        self, image_shape: ImageShape, capsules: int, *, units: int, pose_dim: int
    ) -> None:
        super().__init__()
        self.hidden = nn.Linear(math.prod(image_shape), capsules * units)
        # Presences start with a larger spread than poses: capsules differ by part, not by position.
        spread = torch.tensor(pose_dim * [0.1] + [1.0]) / math.sqrt(units)
        self.heads = nn.Parameter(spread * torch.randn(capsules, units, pose_dim + 1))
        start = torch.eye(2, 3)[:, -pose_dim // 2 :].flatten()
        self.bias = nn.Parameter(F.pad(start, (0, 1)).repeat(capsules, 1))

    def forward(self, images: Tensor) -> Capsules:
        """Map images (B, C, H, W) to poses (B, J, D) and presences (B, J)."""
        units = self.hidden(images.flatten(start_dim=1)).relu()
        return self._outputs(units.unflatten(-1, self.heads.shape[:2]))

    @full_precision
    def _outputs(self, units: Tensor) -> Capsules:
        heads, bias = self.heads.to(units.dtype), self.bias.to(units.dtype)
        outputs = torch.einsum("bjr,jrd->bjd", units, heads) + bias
        return Capsules(outputs[..., :-1], outputs[..., -1].sigmoid())


class Generation(nn.Module):
    """Generation units, a hidden layer for each capsule, which draw an image together.

    The contribution of a capsule is multiplied by its presence; pixels are the sigmoid of the sum
    of contributions.

    Args:
        image_shape: (C, H, W).
        capsules: J, the number of capsules.
        units: G, hidden units of each capsule.
        pose_dim: D, the elements of a pose.
    """

    def __init__(
        self, image_shape: ImageShape, capsules: int, *, units: int, pose_dim: int
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        # Views change poses by tenths: large initial weights make units sensitive to them.
        self.heads = nn.Parameter(4 * torch.randn(capsules, pose_dim, units))
        self.bias = nn.Parameter(torch.randn(capsules, units))
        self.pixels = nn.Linear(capsules * units, math.prod(image_shape))

    def forward(self, capsules: Capsules) -> Tensor:
        """Map poses (B, J, D) and presences (B, J) to images (B, C, H, W) in [0, 1]."""
        # Poses and presences are at least float32; the weights may have a lower precision.
        poses, presences = (values.to(self.heads.dtype) for values in capsules)
        units = torch.einsum("bjd,jdg->bjg", poses, self.heads) + self.bias
        weighted = presences[..., None] * units.relu()
        image: Tensor = self.pixels(weighted.flatten(start_dim=1)).sigmoid()
        return image.unflatten(-1, self.image_shape)
