"""Filters in every rotation and scale, with shared weights (article, 'The CNN Solution')."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.capsules.deviation import deviation
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp


def filter_copies(kernel: int, *, rotations: int, scales: Sequence[float]) -> Tensor:
    """The linear maps from the weights of a filter to each transformed copy of it.

    The weights lie at the pixels of a disc that is ``kernel`` wide, so that nothing leaves the
    filter when it turns. A copy's pixel takes its value from where it came, bilinearly. A copy that
    is enlarged s times is divided by s², so that it answers an enlarged image as the filter does
    the image itself. Copies that are a quarter turn apart hold the same values, bit for bit.

    Args:
        kernel: Width of the filter, odd.
        rotations: Number of equal steps in a full turn, counter-clockwise; the first is none.
        scales: Factors of enlargement, 1 or more.

    Returns:
        (G, N, N, P): copies, one scale after the other; rows and columns; weights. N is odd and
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
            # Rows go down, so this turns clockwise: back to where a pixel came from.
            back = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
            origin = pixels @ back / scale
            shares = (1 - (origin[:, None] - points).abs()).clamp_min(0).prod(dim=-1)
            shares = (shares * covered[:, None] / scale**2).unflatten(0, (len(steps), len(steps)))
            copies.append(torch.rot90(shares, int(quarters), (0, 1)))
    return torch.stack(copies).to(torch.get_default_dtype())


class OrbitConvolution(nn.Module):
    """Every rotated and enlarged copy of each filter, and the largest response (article, eq. 1).

    The group over which is pooled is the orbit of a filter: its copies, which share its weights.
    The result is a map of scalars that turns with the image: exactly for quarter turns, if
    ``rotations`` is a multiple of four, and approximately for its other steps. With one rotation
    and one scale it is an ordinary convolution with a round window, without a bias.

    A map goes on beyond its border as it is at the border: so empty surroundings have no end,
    whatever value they have after a bias further down.

    Args:
        in_channels: Channels that come in.
        channels: Channels that go out.
        kernel: Width of the filters, odd.
        rotations: Number of equal steps in a full turn.
        scales: Factors of enlargement, 1 or more.
        dilation: Pixels from one weight of a filter to the next.
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
        self.register_buffer("copies", copies, persistent=False)  # known from the arguments
        self.weight = nn.Parameter(torch.empty(channels, in_channels, copies.shape[-1]))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.dilation = dilation
        self.padding = dilation * (copies.shape[1] // 2)

    def filters(self) -> Tensor:
        """All copies of all filters, (channels, G, in_channels, N, N)."""
        return torch.einsum("oip,gyxp->ogiyx", self.weight, self.copies)

    def forward(self, features: Tensor) -> Tensor:
        """Maps (B, in_channels, H, W) to (B, channels, H, W)."""
        filters = self.filters()
        continued = F.pad(features, 4 * (self.padding,), mode="replicate")
        responses = F.conv2d(continued, filters.flatten(0, 1), dilation=self.dilation)
        return responses.unflatten(1, filters.shape[:2]).amax(dim=2)

    @torch.no_grad()
    def check_orbit_equivariance(
        self, features: Tensor, *, degrees: float = 90.0, scale: float = 1.0
    ) -> float:
        """Does the map turn and grow with what comes in: f(T x) = T f(x) (article, eq. 3)?

        Args:
            features: (B, in_channels, N, N), empty where the view leads out of the image.
            degrees: Rotation, counter-clockwise.
            scale: Enlargement.

        Returns:
            The deviation: about the rounding of the dtype for quarter turns, if ``rotations`` is a
            multiple of four; small for the other steps; worth measuring for views in between.
        """
        found = self(seen_from(features, degrees=degrees, scale=scale))
        return deviation(found, seen_from(self(features), degrees=degrees, scale=scale))


def seen_from(
    images: Tensor,
    *,
    degrees: float = 0.0,
    scale: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """Images or maps (B, C, H, W), enlarged, turned counter-clockwise, shifted right and down."""
    view = Views.identity(1)
    view.rotation.fill_(degrees)
    view.scale.fill_(scale)
    view.shift.copy_(torch.tensor(shift))
    return warp(images, view.matrices(images.shape[-2], images.shape[-1]))


def _disc(radius: float) -> list[tuple[int, int]]:
    """The pixels (row, column) within a radius of the centre, row by row."""
    reach = range(-math.floor(radius), math.floor(radius) + 1)
    return [(y, x) for y in reach for x in reach if math.hypot(x, y) <= radius]
