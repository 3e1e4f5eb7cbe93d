"""The capsule network with dynamic routing of Sabour, Frosst and Hinton (2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.arguments import NonNegative, Positive
from capsbench.capsules.convolution import Conv2d
from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.capsules.primary import VectorPrimaryCapsules
from capsbench.capsules.reconstruction import RECONSTRUCTION_WEIGHT, RECONSTRUCTION_WEIGHT_CODE
from capsbench.contracts import ImageShape, LayerOfInterest, Prediction, require_size
from capsbench.models._class_lengths import ClassLengths
from capsbench.models._cnn import feature_map
from capsbench.models._geometry import LayerWindow, output_size, smallest_input, stride_and_offset
from capsbench.representations import AFFINE, LINEAR, Invariant, SpatialMap, whole_strides
from capsbench.search_space import Knob
from capsbench.viewpoint.views import Views

PRESENCE_CLAIM = (
    "Sabour, Frosst, Hinton (2017), section 1: the length of a capsule is the probability that its "
    "entity exists, its direction the entity's properties"
)


class CapsNetDR(ClassLengths):
    """Capsule network with dynamic routing, as in the text of Sabour, Frosst and Hinton (2017).

    A convolution, primary capsules, and class capsules whose lengths are the presences. With the
    defaults it has 8,215,568 parameters for 28 x 28 grey images of ten classes, 6,804,224 of them
    without the decoder. With a decoder the loss is the margin loss plus the reconstruction loss.

    Args:
        image_shape: (C, H, W) of the images.
        num_classes: K, the number of classes.
        channels: Channels of the convolution.
        kernel: Width of the convolution's window, without padding.
        stride: Step of the convolution's window.
        primary_types: Types of primary capsules.
        primary_dim: Length of their pose vectors.
        primary_kernel: Width of their window, without padding.
        primary_stride: Step of their window.
        class_dim: Length of the pose vectors of the class capsules.
        iterations: Iterations of dynamic routing.
        decoder: Widths of the decoder's hidden layers; empty for no decoder.
        reconstruction_weight: Weight of the sum of squared pixel errors.
    """

    source: ClassVar[str] = (
        "Sabour, Frosst, Hinton, 'Dynamic Routing Between Capsules' (NIPS 2017), the text's network"
    )
    name: ClassVar[str] = "capsnet-dr"
    knobs: ClassVar[Mapping[str, Knob]] = {"iterations": (1, 2, 3)}
    as_in_code: ClassVar[bool] = False  # biases in routing, routed primary capsules

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        channels: Positive = 256,
        kernel: Positive = 9,
        stride: Positive = 1,
        primary_types: Positive = 32,
        primary_dim: Positive = 8,
        primary_kernel: Positive = 9,
        primary_stride: Positive = 2,
        class_dim: Positive = 16,
        iterations: Positive = 3,
        decoder: tuple[Positive, ...] = (512, 1024),
        reconstruction_weight: NonNegative = RECONSTRUCTION_WEIGHT,
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.windows = [LayerWindow(kernel, stride), LayerWindow(primary_kernel, primary_stride)]
        require_size(self.name, image_shape, smallest_input(self.windows))
        in_channels, height, width = image_shape
        self.conv = Conv2d(in_channels, channels, kernel, stride)
        self.primary = VectorPrimaryCapsules(
            channels,
            types=primary_types,
            dim=primary_dim,
            kernel=primary_kernel,
            stride=primary_stride,
            routed=self.as_in_code,
        )
        self.classes = DynamicRouting(
            num_children=output_size(height, self.windows)
            * output_size(width, self.windows)
            * primary_types,
            child_dim=primary_dim,
            num_parents=num_classes,
            parent_dim=class_dim,
            iterations=iterations,
            bias=self.as_in_code,
        )
        self.add_decoder(class_dim, decoder, weight=reconstruction_weight)

    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        primary = self.primary(F.relu(self.conv(images)))
        poses, presences = self.classes(primary.poses.flatten(1, 3))
        return self.predict(poses, presences)

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return the convolution before its ReLU, and the primary and class capsules.

        Convolutions move with the image by whole strides, exactly since nothing is padded. Lengths
        are claimed not to change. How the direction of a pose changes is stated nowhere: the paper
        only expects it to represent the entity's properties. So primary poses are declared at whole
        strides alone, and class poses not at all.
        """
        stride, offset = stride_and_offset(self.windows)
        strides = whole_strides(stride)
        poses, presences = (
            SpatialMap(exact=strides),
            SpatialMap(exact=strides, claimed=LINEAR, source=PRESENCE_CLAIM),
        )
        invariant = Invariant(claimed=AFFINE, source=PRESENCE_CLAIM)
        return {
            "conv": feature_map("conv", self.windows[:1]),
            "primary poses": LayerOfInterest(
                "primary", "pose", 0, stride=stride, offset=offset, transformation=poses
            ),
            "primary presences": LayerOfInterest(
                "primary", "presence", 1, stride=stride, offset=offset, transformation=presences
            ),
            "class poses": LayerOfInterest("classes", "pose", 0),
            "class presences": LayerOfInterest("classes", "presence", 1, transformation=invariant),
        }


class CapsNetDRCode(CapsNetDR):
    """Capsule network with dynamic routing, as in the code of Sabour, Frosst and Hinton (2017).

    It has 8,215,728 parameters for 28 x 28 grey images of ten classes, 6,804,384 of them without
    the decoder. It differs from the text's network in four points. The routed sum has a learned
    bias. Primary capsules are routed once, so that each type gets 1/32 of the convolution. The
    weight of the reconstruction loss is larger. Initial weights are truncated normals of standard
    deviation 0.1, 0.05 in the first convolution, and all initial biases are 0.1.

    Args:
        num_classes: K, the number of classes.
        reconstruction_weight: Weight of the sum of squared pixel errors; by default 0.001 K (0.01
            for ten classes, 20 times the text's). This is equivalent to the weight in the code,
            where the margin loss is averaged over the classes and not summed.
        **kwargs: As for `CapsNetDR`.
    """

    source: ClassVar[str] = (
        "Sabour, Frosst, Hinton, 'Dynamic Routing Between Capsules' (NIPS 2017), the authors' code "
        "(github.com/Sarasra/models, research/capsules)"
    )
    name: ClassVar[str] = "capsnet-dr-code"
    knobs: ClassVar[Mapping[str, Knob]] = {}  # three iterations are part of the code
    as_in_code: ClassVar[bool] = True

    def __init__(
        self,
        *,
        num_classes: int,
        reconstruction_weight: NonNegative | None = None,
        **kwargs: Any,
    ) -> None:
        if reconstruction_weight is None:
            reconstruction_weight = RECONSTRUCTION_WEIGHT_CODE * num_classes
        super().__init__(
            num_classes=num_classes, reconstruction_weight=reconstruction_weight, **kwargs
        )
        for parameter_name, parameter in self.named_parameters():
            if parameter_name.endswith("bias"):
                nn.init.constant_(parameter, 0.1)
            else:
                std = 0.05 if parameter_name == "conv.weight" else 0.1
                # TensorFlow's normal is truncated at two standard deviations.
                nn.init.trunc_normal_(parameter, std=std, a=-2 * std, b=2 * std)
