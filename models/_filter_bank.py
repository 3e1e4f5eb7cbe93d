"""Filters in several rotations and scales, with shared weights (article, 'The CNN Solution')."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.capsules.relative_error import max_relative_error
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp


def filter_copies(kernel: int, *, rotations: int, scales: Sequence[float]) -> Tensor:
    """Return the linear maps from the weights of a filter to each transformed copy of it.

    The weights are at the pixels of a disc of diameter ``kernel``, so that no weight leaves the
    filter when it rotates. Copies are resampled by cubic convolution. The shares of each weight in
    a copy sum to one, so that every copy has the response of the filter to a constant. Copies that
    are a quarter turn apart have the same values, bit for bit.

    Interpolation still smooths. For random weights on a 5 x 5 disc, the copy at 45 degrees keeps
    0.79 of the filter's norm on average. The copy at scale 1.5 keeps 0.58; a smooth filter, spread
    over the larger area, would keep 1 / 1.5. With eight rotations on white noise, each rotation
    along the axes has the largest response in 15.2 % of cases, and each one between in 9.8 %. A
    ring's copy at scale 1.5 has a response to an enlarged spot that is 9 % below that of the ring
    to the spot.

    Args:
        kernel: Width of the filter, odd.
        rotations: Number of equal steps in a full turn, counter-clockwise; the first is 0 degrees.
        scales: Enlargement factors, at least 1.

    Returns:
        (G, N, N, P): copies, by scale and then rotation; rows and columns; weights. N is odd and
        fits the largest copy.
    """
    points = torch.tensor(_disc(kernel / 2), dtype=torch.float64)
    half = math.floor(max(scales) * kernel / 2)
    steps = torch.arange(-half, half + 1, dtype=torch.float64)
    pixels = torch.cartesian_prod(steps, steps)  # row, column
    copies = []
    for scale in scales:
        covered = torch.linalg.vector_norm(pixels, dim=1) <= scale * kernel / 2
        for number in range(rotations):
            quarters, rest = divmod(360 * number / rotations, 90)
            cos, sin = math.cos(math.radians(rest)), math.sin(math.radians(rest))
            # Rows go down, so this rotates clockwise: back to the origin of a pixel.
            back = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
            origin = pixels @ back / scale
            shares = _cubic(origin[:, None] - points).prod(dim=-1) * covered[:, None]
            shares = (shares / shares.sum(dim=0)).unflatten(0, (len(steps), len(steps)))
            copies.append(torch.rot90(shares, int(quarters), (0, 1)))
    return torch.stack(copies).to(torch.get_default_dtype())


class OrbitConvolution(nn.Module):
    """Maximum response over all rotated and enlarged copies of each filter (article, eq. 1).

    The pooling group is the orbit of a filter: its copies, which share its weights. The result is a
    map of scalars that is equivariant to rotation: exactly for quarter turns if ``rotations`` is a
    multiple of four, and approximately for its other steps. With one rotation and one scale it is
    an ordinary convolution with a round window and no bias.

    Maps are padded by replicating the border, so that a constant background continues outside,
    for any value after a bias.

    Args:
        in_channels: Input channels.
        channels: Output channels.
        kernel: Width of the filters, odd.
        rotations: Number of equal steps in a full turn.
        scales: Enlargement factors, at least 1.
        dilation: Pixels between adjacent weights of a filter.
    """

    copies: Tensor

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        kernel: int,
        rotations: int,
        scales: Sequence[float] = (1.0,),
        dilation: int = 1,
    ) -> None:
        super().__init__()
        copies = filter_copies(kernel, rotations=rotations, scales=scales)
        self.register_buffer("copies", copies, persistent=False)  # a function of the arguments
        self.weight = nn.Parameter(torch.empty(channels, in_channels, copies.shape[-1]))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.dilation = dilation
        self.padding = dilation * (copies.shape[1] // 2)

    def filters(self) -> Tensor:
        """Return all copies of all filters, (channels, G, in_channels, N, N)."""
        return torch.einsum("oip,gyxp->ogiyx", self.weight, self.copies)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, channels, H, W)."""
        filters = self.filters()
        padded = F.pad(features, 4 * (self.padding,), mode="replicate")
        responses = F.conv2d(padded, filters.flatten(0, 1), dilation=self.dilation)
        return responses.unflatten(1, filters.shape[:2]).amax(dim=2)

    @torch.no_grad()
    def check_orbit_equivariance(
        self, features: Tensor, *, degrees: float = 90.0, scale: float = 1.0
    ) -> float:
        """Check equivariance to rotation and scaling: f(T x) = T f(x) (article, eq. 3).

        Args:
            features: (B, in_channels, N, N), zero where the transformation leaves the image.
            degrees: Rotation, counter-clockwise.
            scale: Enlargement.

        Returns:
            The relative error: about the rounding of the dtype for quarter turns if ``rotations``
            is a multiple of four, small for the other steps, larger for views in between.
        """
        transformed = self(transform_images(features, degrees=degrees, scale=scale))
        return max_relative_error(
            transformed, transform_images(self(features), degrees=degrees, scale=scale)
        )


def transform_images(
    images: Tensor,
    *,
    degrees: float = 0.0,
    scale: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """Scale images or maps (B, C, H, W), rotate them counter-clockwise, shift right and down."""
    view = Views.identity(1)
    view.rotation.fill_(degrees)
    view.scale.fill_(scale)
    view.shift.copy_(torch.tensor(shift))
    return warp(images, view.matrices(images.shape[-2], images.shape[-1]))


def _cubic(distance: Tensor) -> Tensor:
    """Return the weight of a sample at a distance, by cubic convolution (Keys 1981, a = -1/2).

    Linear interpolation would reduce the norm of a filter at 45 degrees even more.
    """
    x = distance.abs()
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))


def _disc(radius: float) -> list[tuple[int, int]]:
    """Return the pixels (row, column) within a radius of the centre, in row-major order."""
    reach = range(-math.floor(radius), math.floor(radius) + 1)
    return [(y, x) for y in reach for x in reach if math.hypot(x, y) <= radius]
