"""Max-pooling, by which a CNN becomes invariant to small shifts (article, eq. 1-2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from capsbench.capsules.deviation import deviation
from capsbench.contracts import MaxPool
from capsbench.models._geometry import Window


class MaxPooling(MaxPool):
    """The largest value of each group of neighbours (article, eq. 1).

    Where inside of the group the largest value was is discarded. That makes the result invariant to
    local shifts (eq. 2), and it is what a capsule would have kept in its pose.

    Args:
        window: The group: its width, the step to the next one, a border that is never largest, and
            whether a last group may reach beyond the map.
    """

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.partial = window

    def forward(self, features: Tensor) -> Tensor:
        """Maps (B, D, H, W) to (B, D, H', W')."""
        return F.max_pool2d(
            features, self.kernel, self.stride, self.padding, ceil_mode=self.partial
        )

    def kept(self, features: Tensor, shift: tuple[int, int]) -> Tensor:
        """The groups for which eq. 2 speaks of a shift.

        Args:
            features: (B, D, H, W).
            shift: Pixels, x right and y down. What leaves the map comes in at the other side.

        Returns:
            (B, D, H', W'), true where the shift leaves the largest value in its group and brings no
            larger one in. The share of these groups says how invariant the pooling really is.
        """
        largest, where = self._largest(features)
        largest_after, _ = self._largest(_shifted(features, shift))
        width = features.shape[-1]
        stays = self._in_group(where % width + shift[0], features, axis=-1)
        stays &= self._in_group(where // width + shift[1], features, axis=-2)
        return stays & (largest_after <= largest)

    @torch.no_grad()
    def check_local_shift(self, features: Tensor, shift: tuple[int, int]) -> float:
        """Do shifts that leave the largest value in its group change nothing (article, eq. 2)?

        Args:
            features: (B, D, H, W).
            shift: Pixels, x right and y down. What leaves the map comes in at the other side.

        Returns:
            The deviation over all groups that `kept` names; 0, since values are only copied. NaN
            if it names none, since eq. 2 then says nothing.
        """
        groups = self.kept(features, shift)
        if not groups.any():
            return math.nan
        found, expected = self(_shifted(features, shift)), self(features)
        return deviation(torch.where(groups, found, 0), torch.where(groups, expected, 0))

    def _in_group(self, place: Tensor, features: Tensor, *, axis: int) -> Tensor:
        """Whether a column or row, named for each group, lies in that group and on the map."""
        first = torch.arange(place.shape[axis], device=place.device) * self.stride - self.padding
        first = first if axis == -1 else first[:, None]
        last = (first + self.kernel).clamp_max(features.shape[axis]) - 1
        return (place >= first.clamp_min(0)) & (place <= last)

    def _largest(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The largest value of each group, and its number in the map, row by row."""
        values, where = F.max_pool2d(
            features,
            self.kernel,
            self.stride,
            self.padding,
            ceil_mode=self.partial,
            return_indices=True,
        )
        return values, where


class GlobalMaxPooling(MaxPool):
    """The largest value of all places: where on the map it was is discarded (article, eq. 1)."""

    def forward(self, features: Tensor) -> Tensor:
        """Maps (B, D, H, W) to vectors (B, D)."""
        return features.amax(dim=(2, 3))


def halving(size: int) -> Window:
    """Window of stride 2 that treats both ends of a side alike, whatever its size.

    Two wide on an even side, three on an odd one: on a square map pooling then commutes with
    quarter turns and reflections.

    >>> halving(28).kernel, halving(7).kernel
    (2, 3)
    """
    return Window(2 + size % 2, stride=2)


def _shifted(features: Tensor, shift: tuple[int, int]) -> Tensor:
    return features.roll(shift, dims=(-1, -2))
