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
    filter when it turns. A copy's pixel takes its value from where it came, by cubic convolution.
    Each weight's shares in a copy sum to one, so that every copy answers a constant as the filter
    does. Copies that are a quarter turn apart hold the same values, bit for bit.

    Interpolation smooths all the same. Of random weights on a 5 x 5 disc, the copy at 45 degrees
    keeps 0.79 of the filter's norm on average, and that at scale 1.5 keeps 0.58, where a smooth
    filter that is spread over so much more area would keep 1 / 1.5. Of eight rotations, each that
    lies along the axes is then the largest on 15.2 % of white noise, and each between on 9.8 %.
    A ring's copy at scale 1.5 answers an enlarged spot 9 % less than the ring the spot itself.

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
            shares = _cubic(origin[:, None] - points).prod(dim=-1) * covered[:, None]
            shares = (shares / shares.sum(dim=0)).unflatten(0, (len(steps), len(steps)))
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


def _cubic(distance: Tensor) -> Tensor:
    """The share of a value so far away along an axis, by cubic convolution (Keys 1981, a = -1/2).

    Linear interpolation would leave even less of a filter that is turned by 45 degrees.
    """
    x = distance.abs()
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))


def _disc(radius: float) -> list[tuple[int, int]]:
    """The pixels (row, column) within a radius of the centre, row by row."""
    reach = range(-math.floor(radius), math.floor(radius) + 1)
    return [(y, x) for y in reach for x in reach if math.hypot(x, y) <= radius]
