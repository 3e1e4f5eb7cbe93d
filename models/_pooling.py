"""Max-pooling, which makes a CNN invariant to small shifts (article, eq. 1-2), and blurs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.capsules.relative_error import max_relative_error
from capsbench.contracts import MaxPool
from capsbench.models._geometry import LayerWindow


class MaxPooling(MaxPool):
    """Maximum over each group of neighbours (article, eq. 1).

    The position of the maximum within its group is discarded. The result is therefore invariant to
    local shifts (eq. 2); a capsule would have kept this position in its pose.

    Args:
        window: The group: its width, the step to the next one, a border that is never the maximum,
            and whether a last group may extend beyond the map.
    """

    def __init__(self, window: LayerWindow) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.partial = window

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, D, H, W) to (B, D, H', W').

        On a processor the maxima of small maps are found several times as fast if channels come
        last in memory, and copied faster than torch passes their gradient. Nothing else changes.
        """
        if features.device.type != "cpu":
            return self._max(features)
        channels_last = features.contiguous(memory_format=torch.channels_last)
        if not features.requires_grad:
            return self._max(channels_last).contiguous()
        index = self._max_with_index(channels_last)[1].contiguous()
        return features.flatten(2).gather(2, index.flatten(2)).view(index.shape)

    def unaffected_groups(self, features: Tensor, shift: tuple[int, int]) -> Tensor:
        """Return a mask of the groups to which eq. 2 applies for a shift.

        Args:
            features: (B, D, H, W).
            shift: Pixels, x right and y down; shifts are cyclic.

        Returns:
            (B, D, H', W'), true if the maximum stays in its group and no larger value enters. The
            fraction of these groups is the actual invariance of the pooling.
        """
        largest, index = self._max_with_index(features)
        largest_after, _ = self._max_with_index(_shifted(features, shift))
        width = features.shape[-1]
        stays = self._in_group(index % width + shift[0], features, axis=-1)
        stays &= self._in_group(index // width + shift[1], features, axis=-2)
        return stays & (largest_after <= largest)

    @torch.no_grad()
    def check_local_shift(self, features: Tensor, shift: tuple[int, int]) -> float:
        """Check that shifts within groups do not change the output (article, eq. 2).

        Args:
            features: (B, D, H, W).
            shift: Pixels, x right and y down; shifts are cyclic.

        Returns:
            The relative error over all `unaffected_groups`; 0, since values are only copied. NaN if
            there is no such group, since eq. 2 then does not apply.
        """
        groups = self.unaffected_groups(features, shift)
        if not groups.any():
            return math.nan
        output, expected = self(_shifted(features, shift)), self(features)
        return max_relative_error(torch.where(groups, output, 0), torch.where(groups, expected, 0))

    def _in_group(self, line: Tensor, features: Tensor, *, axis: int) -> Tensor:
        """Return whether a column or row, one per group, lies in that group and on the map."""
        first = torch.arange(line.shape[axis], device=line.device) * self.stride - self.padding
        first = first if axis == -1 else first[:, None]
        last = (first + self.kernel).clamp_max(features.shape[axis]) - 1
        return (line >= first.clamp_min(0)) & (line <= last)

    def _max(self, features: Tensor) -> Tensor:
        return F.max_pool2d(
            features, self.kernel, self.stride, self.padding, ceil_mode=self.partial
        )

    def _max_with_index(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maximum of each group, and its flat index in the map."""
        return F.max_pool2d(
            features,
            self.kernel,
            self.stride,
            self.padding,
            ceil_mode=self.partial,
            return_indices=True,
        )


class GlobalMaxPooling(MaxPool):
    """Maximum over all positions; the position of the maximum is discarded (article, eq. 1)."""

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, D, H, W) to vectors (B, D)."""
        return features.amax(dim=(2, 3))


class Blur(nn.Module):
    """Subsample a map after a binomial filter, 1-2-1 in each direction (Zhang 2019, section 3.2).

    Without the filter, subsampled maps are aliased: they change abruptly as the image moves. The
    border is reflected, as in the author's code.

    Args:
        stride: Step from one kept position to the next.
    """

    filter: Tensor

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride
        row = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("filter", torch.outer(row, row)[None, None], persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, D, H, W), at least 2 x 2, to (B, D, H', W')."""
        channels = features.shape[1]
        kernels = self.filter.to(features.dtype).expand(channels, -1, -1, -1)
        padded = F.pad(features, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, kernels, stride=self.stride, groups=channels)


def blur_window(stride: int) -> LayerWindow:
    """Return the window of `Blur`."""
    return LayerWindow(3, stride, padding=1)


def halving_window(size: int) -> LayerWindow:
    """Return a window of stride 2 that is symmetric at both ends, for any size.

    Two wide on an even side, three on an odd one. On a square map pooling then commutes with
    quarter turns and reflections.

    >>> halving_window(28).kernel, halving_window(7).kernel
    (2, 3)
    """
    return LayerWindow(2 + size % 2, stride=2)


def _shifted(features: Tensor, shift: tuple[int, int]) -> Tensor:
    return features.roll(shift, dims=(-1, -2))
