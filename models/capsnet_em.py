"""The matrix capsules with EM routing of Hinton, Sabour and Frosst (2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.arguments import NonNegative, Positive
from capsbench.capsules.em_layers import ClassEMCapsules, ConvEMCapsules
from capsbench.capsules.losses import spread_loss, spread_margin
from capsbench.capsules.primary import MatrixPrimaryCapsules
from capsbench.contracts import (
    Batch,
    ImageShape,
    LayerOfInterest,
    Model,
    Prediction,
    one_hot,
    require_size,
)
from capsbench.errors import UserError
from capsbench.models._geometry import Window, smallest_size, stride_and_offset
from capsbench.models._presences import log_normalized
from capsbench.viewpoint.views import Views


class CapsNetEM(Model):
    """Matrix capsules with EM routing, as in the text of Hinton, Sabour and Frosst (2018).

    A convolution, primary capsules, convolutional capsule layers, and class capsules. With the
    defaults (A, B, C, D = 32) it has 316,650 parameters for 32 x 32 images of two channels and five
    classes. The loss is the spread loss. Each image is first brought to mean 0 and variance 1. The
    paper says of the inverse temperature only that it rises; here it does so linearly with the
    training.

    Args:
        image_shape: (C, H, W) of the images.
        num_classes: K.
        channels: A, channels of the convolution.
        kernel: Width of the convolution's window, without padding.
        stride: Step of the convolution's window.
        primary_types: B, types of primary capsules.
        types: C, D, ...: types of capsules in each convolutional capsule layer.
        strides: Step of the window of each of them.
        capsule_kernel: Width of their windows, without padding.
        iterations: Iterations of EM routing.
        coordinate_addition: Whether votes for the classes are told where they come from.
        inverse_temperature: λ at the beginning and at the end of the training.
    """

    source: ClassVar[str] = (
        "Hinton, Sabour, Frosst, 'Matrix Capsules with EM Routing' (ICLR 2018), the text's network"
    )

    inverse_temperature: Tensor

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        channels: Positive = 32,
        kernel: Positive = 5,
        stride: Positive = 2,
        primary_types: Positive = 32,
        types: tuple[Positive, ...] = (32, 32),
        strides: tuple[Positive, ...] = (2, 1),
        capsule_kernel: Positive = 3,
        iterations: Positive = 3,
        coordinate_addition: bool = True,
        inverse_temperature: tuple[NonNegative, NonNegative] = (0.1, 1.0),
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        if len(types) != len(strides):
            raise UserError(
                f"capsnet-em needs one stride for each layer of capsule types; "
                f"got types {list(types)} and strides {list(strides)}"
            )
        self.windows = [Window(kernel, stride)]
        self.windows += [Window(capsule_kernel, step) for step in strides]
        require_size("capsnet-em", image_shape, smallest_size(self.windows))
        self.conv = nn.Conv2d(image_shape[0], channels, kernel, stride)
        self.primary = MatrixPrimaryCapsules(channels, types=primary_types)
        widths = (primary_types, *types)
        self.capsules = nn.ModuleList(
            ConvEMCapsules(below, above, kernel=capsule_kernel, stride=step, iterations=iterations)
            for below, above, step in zip(widths, types, strides, strict=False)
        )
        self.classes = ClassEMCapsules(
            widths[-1],
            num_classes,
            iterations=iterations,
            coordinate_addition=coordinate_addition,
        )
        self.temperatures = inverse_temperature
        self.register_buffer("inverse_temperature", torch.tensor(inverse_temperature[0]))

    def advance(self, progress: float) -> None:
        """Raise the inverse temperature."""
        start, end = self.temperatures
        self.inverse_temperature.fill_(start + (end - start) * progress)

    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        capsules = self.primary(F.relu(self.conv(standardize(images))))
        for layer in self.capsules:
            capsules = layer(capsules, self.inverse_temperature)
        poses, presences = self.classes(capsules, self.inverse_temperature)
        return Prediction(presences, presences, poses)

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Spread loss, with a margin that rises linearly with the training."""
        targets = one_hot(batch.targets, self.num_classes)
        return spread_loss(prediction.scores, targets, margin=spread_margin(progress))

    def log_probabilities(self, prediction: Prediction) -> Tensor:
        """(B, K) logarithms of the presences, normalised to sum to one."""
        return log_normalized(prediction.scores)

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """The convolution before its ReLU, and poses and presences of every capsule layer."""
        stride, offset = stride_and_offset(self.windows[:1])
        layers = {"conv": LayerOfInterest("conv", "map", stride=stride, offset=offset)}
        maps = {"primary": "primary"}
        maps |= {f"capsules {i + 1}": f"capsules.{i}" for i in range(len(self.capsules))}
        for count, (name, module) in enumerate(maps.items(), start=1):
            stride, offset = stride_and_offset(self.windows[:count])
            layers[f"{name} poses"] = LayerOfInterest(module, "pose", 0, stride, offset)
            layers[f"{name} presences"] = LayerOfInterest(module, "presence", 1, stride, offset)
        layers["class poses"] = LayerOfInterest("classes", "pose", 0)
        layers["class presences"] = LayerOfInterest("classes", "presence", 1)
        return layers


def standardize(images: Tensor) -> Tensor:
    """Images (B, C, H, W) with mean 0 and variance 1 each, over all channels (Hinton 2018, 5).

    The deviation is taken as at least 1 / sqrt(C H W), so that a uniform image becomes zero.
    """
    flat = images.flatten(start_dim=1)
    floor = 1 / flat.shape[1]
    variance, mean = torch.var_mean(flat, dim=1, correction=0, keepdim=True)
    return ((flat - mean) * variance.clamp_min(floor).rsqrt()).view_as(images)
