"""LeNet-5 of LeCun, Bottou, Bengio and Haffner (1998)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.contracts import ImageShape, LayerOfInterest, require_size
from capsbench.models._cnn import SequentialClassifier, feature_map
from capsbench.models._geometry import LayerWindow, output_size, smallest_input

C1, S2 = LayerWindow(5, padding=2), LayerWindow(2, stride=2)
C3, S4 = LayerWindow(5), LayerWindow(2, stride=2)

# The maps of S2 that each map of C3 is connected to: three neighbours, four neighbours, two pairs,
# and all (the paper's table I). Maps with different inputs learn different features.
TABLE = (
    *[tuple(sorted((first + i) % 6 for i in range(3))) for first in range(6)],
    *[tuple(sorted((first + i) % 6 for i in range(4))) for first in range(6)],
    *[(0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)],
    (0, 1, 2, 3, 4, 5),
)


class LeNet5(SequentialClassifier):
    """LeNet-5 (LeCun et al. 1998, section II-B), with a softmax instead of its last layer.

    C1 to F6 are the paper's: convolutions C1 and C3, where each map of C3 is connected to only some
    maps, subsampling S2 and S4 with a learned coefficient and bias, and fully connected layers C5
    and F6, each followed by 1.7159 tanh(2x/3). They have the paper's 60,000 parameters for 28 x 28
    grey images; the linear layer for ten classes adds 850.

    The paper's last layer measures the distance to drawings of the ten digits, which exist for no
    other classes. Here it is a softmax with cross-entropy. The paper pads its digits to 32 x 32,
    which is C1's padding here, and scales pixels to -0.1 to 1.175, which C1's weights and bias can
    compensate. Initial weights and coefficients are those of torch's layers, uniform up to 1 /
    sqrt(n) for n inputs; the initial biases of S2, C3 and S4 are zero.

    Args:
        image_shape: (C, H, W) of the images, at least 12 pixels high and wide.
        num_classes: K, the number of classes.
    """

    source: ClassVar[str] = (
        "LeCun, Bottou, Bengio, Haffner, 'Gradient-Based Learning Applied to Document Recognition' "
        "(Proceedings of the IEEE, 1998)"
    )

    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        windows = [C1, S2, C3, S4]
        require_size("lenet5", image_shape, smallest_input(windows))
        channels, height, width = image_shape
        area = output_size(height, windows) * output_size(width, windows)
        conv = nn.Conv2d(channels, 6, C1.kernel, padding=C1.padding)
        self.c1 = nn.Sequential(conv, ScaledTanh())
        self.s2 = nn.Sequential(Subsampling(6), ScaledTanh())
        self.c3 = nn.Sequential(TableConvolution(TABLE, kernel=C3.kernel), ScaledTanh())
        self.s4 = nn.Sequential(Subsampling(len(TABLE)), ScaledTanh())
        self.c5 = nn.Sequential(nn.Flatten(), nn.Linear(len(TABLE) * area, 120), ScaledTanh())
        self.f6 = nn.Sequential(nn.Linear(120, 84), ScaledTanh())
        self.classes = nn.Linear(84, num_classes)

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return the layers by their names in the paper."""
        return {
            "C1": feature_map("c1", [C1]),
            "S2": feature_map("s2", [C1, S2]),
            "C3": feature_map("c3", [C1, S2, C3]),
            "S4": feature_map("s4", [C1, S2, C3, S4]),
            "C5": LayerOfInterest("c5", "vector"),
            "F6": LayerOfInterest("f6", "vector"),
        }


class ScaledTanh(nn.Module):
    """The squashing function 1.7159 tanh(2x/3), which is 1 at 1 and -1 at -1 (appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to a tensor of any shape."""
        return 1.7159 * torch.tanh(2 / 3 * x)


class Subsampling(nn.Module):
    """The sum over 2 x 2 neighbours, times a learned coefficient, plus a learned bias, per map.

    Args:
        maps: Number of maps.
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.empty(maps, 1, 1).uniform_(-0.5, 0.5))
        self.bias = nn.Parameter(torch.zeros(maps, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, H, W) to (B, D, H // 2, W // 2)."""
        return self.coefficient * 4 * F.avg_pool2d(x, S2.kernel, S2.stride) + self.bias


class TableConvolution(nn.Module):
    """A convolution whose output maps are connected only to the input maps listed in a table.

    Args:
        table: For each output map, its input maps.
        kernel: Width of the window, without padding.
    """

    connections: Tensor

    def __init__(self, table: Sequence[Sequence[int]], *, kernel: int) -> None:
        super().__init__()
        pairs = [(output, source) for output, sources in enumerate(table) for source in sources]
        self.register_buffer("connections", torch.tensor(pairs).T, persistent=False)
        self.inputs = 1 + max(source for _, source in pairs)
        fan_in = torch.tensor([len(table[output]) for output, _ in pairs]) * kernel**2
        bound = fan_in.rsqrt()[:, None, None]
        self.weight = nn.Parameter(bound * torch.empty(len(pairs), kernel, kernel).uniform_(-1, 1))
        self.bias = nn.Parameter(torch.zeros(len(table)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H - kernel + 1, W - kernel + 1)."""
        shape = (len(self.bias), self.inputs, *self.weight.shape[1:])
        outputs, inputs = self.connections
        weight = self.weight.new_zeros(shape).index_put((outputs, inputs), self.weight)
        return F.conv2d(x, weight, self.bias)
