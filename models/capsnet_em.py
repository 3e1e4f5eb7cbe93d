"""Matrix capsules with EM routing, after Hinton, Sabour and Frosst (2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.arguments import NonNegative, Positive
from capsbench.capsules.convolution import Conv2d
from capsbench.capsules.coordinates import Coordinates, coordinates
from capsbench.capsules.em_layers import ClassEMCapsules, ConvEMCapsules, PoseSize
from capsbench.capsules.em_variants import OURS, EMVariant, raised_over_training
from capsbench.capsules.losses import cross_entropy, margin_loss, spread_loss, spread_margin
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
from capsbench.models._cnn import feature_map
from capsbench.models._geometry import LayerWindow, output_size, smallest_input, stride_and_offset
from capsbench.models._standardize import STANDARDIZED, standardize
from capsbench.representations import (
    AFFINE,
    LINEAR,
    SHIFTS,
    Invariant,
    MatrixPoseMap,
    MatrixPoses,
    PoseFrame,
    Representation,
    SpatialMap,
    whole_strides,
)
from capsbench.search_space import Knob
from capsbench.viewpoint.views import Views

CLAIM = (
    "Hinton, Sabour, Frosst (2018), sections 1 to 4: a pose is the relation between an entity and "
    "the viewer, a view multiplies it as it multiplies votes, and activations do not change"
)

Loss = Literal["cross-entropy", "spread", "margin"]


class CapsNetEM(Model):
    """Matrix capsules with EM routing, with constants and a loss of our own with which they learn.

    The architecture is that of Hinton, Sabour and Frosst (2018): a convolution, primary capsules,
    convolutional capsule layers, and class capsules. With the defaults (A, B, C, D = 32) it has
    316,650 parameters for 32 x 32 images of two channels and five classes. Each image is first
    standardised to mean 0 and variance 1.

    Constants of the routing (`OURS`), the factor of 2 of the convolution, the initial poses and the
    loss are ours. The scores are the logits of the class presences. The loss is the cross-entropy
    of 20 times these logits without the inverse temperature: nothing is rounded on the way to it,
    and the inverse temperature, which rises linearly over the training, does not scale it. It only
    compares classes. So the presence of a class is its share of all classes, their softmax; with
    the other losses it is the sigmoid of eq. 27.

    Args:
        image_shape: (C, H, W) of the images.
        num_classes: K, the number of classes.
        channels: A, channels of the convolution.
        kernel: Width of the convolution's window, without padding.
        stride: Step of the convolution's window.
        primary_types: B, types of primary capsules.
        types: C, D, ...: types of capsules in each convolutional capsule layer.
        strides: Step of the window of each of them.
        capsule_kernel: Width of their windows, without padding.
        iterations: Iterations of EM routing.
        coordinate_addition: Add the position to the votes for the classes.
        inverse_temperature: λ at the beginning and at the end of the training.
        pose: A ``matrix`` of 4 x 4, transformed by a 4 x 4 matrix, or a ``vector`` of 16,
            transformed by a 16 x 16 matrix, the most general linear map; the paper compares with
            vectors but does not state their transformation.
        loss: ``cross-entropy`` of the logits; or, of the presences, the ``spread`` loss of the
            paper or the ``margin`` loss of Sabour et al. (2017).
    """

    family: ClassVar[str] = "capsules"
    revision = 4
    source: ClassVar[str] = (
        "after Hinton, Sabour, Frosst, 'Matrix Capsules with EM Routing' (ICLR 2018), with "
        "constants and a loss of ours"
    )
    name: ClassVar[str] = "capsnet-em"
    knobs: ClassVar[Mapping[str, Knob]] = {
        "iterations": (1, 2, 3),
        "inverse_temperature": ((0.1, 0.1), (0.1, 0.3), (0.1, 1.0)),
    }
    variant: ClassVar[EMVariant] = OURS  # of the convolutional capsule layers
    class_variant: ClassVar[EMVariant] = OURS
    presence_offset: ClassVar[float] = 0.0
    stem_gain: ClassVar[float] = 2.0  # of the convolution: a step changes it twice as much
    pose_gain: ClassVar[float] = 0.05  # of the initial primary poses, times `stem_gain`
    logit_gain: ClassVar[float] = 20.0  # of the logits in the loss, at an inverse temperature of 1

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
        inverse_temperature: tuple[NonNegative, NonNegative] = (0.1, 0.3),
        pose: Literal["matrix", "vector"] = "matrix",
        loss: Loss = "cross-entropy",
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        if len(types) != len(strides):
            raise UserError(
                f"{self.name} needs one stride for each layer of capsule types; "
                f"got types {list(types)} and strides {list(strides)}"
            )
        self.windows = [LayerWindow(kernel, stride)]
        self.windows += [LayerWindow(capsule_kernel, step) for step in strides]
        require_size(self.name, image_shape, smallest_input(self.windows))
        pose_size: PoseSize = 4 if pose == "matrix" else 16
        self.conv = Conv2d(image_shape[0], channels, kernel, stride)
        self.primary = MatrixPrimaryCapsules(
            channels,
            types=primary_types,
            presence_offset=self.presence_offset,
            pose_gain=self.pose_gain,
            pose_shape=(4, 4) if pose == "matrix" else (16,),
        )
        widths = (primary_types, *types)
        self.capsules = nn.ModuleList(
            ConvEMCapsules(
                below,
                above,
                kernel=capsule_kernel,
                stride=step,
                iterations=iterations,
                variant=self.variant,
                pose_size=pose_size,
            )
            for below, above, step in zip(widths, types, strides, strict=False)
        )
        self.classes = ClassEMCapsules(
            widths[-1],
            num_classes,
            iterations=iterations,
            coordinates=self.coordinates() if coordinate_addition else None,
            variant=self.class_variant,
            pose_size=pose_size,
        )
        self.pose = pose
        self.coordinate_addition = coordinate_addition
        self.temperatures = inverse_temperature
        self.loss_name = loss
        # Cross-entropy leaves what all classes have in common untrained, and sigmoids near 1.
        self.class_presences = nn.Softmax(dim=1) if loss == "cross-entropy" else nn.Sigmoid()
        self.register_buffer("inverse_temperature", torch.tensor(inverse_temperature[0]))

    def advance(self, progress: float) -> None:
        """Raise the inverse temperature."""
        start, end = self.temperatures
        self.inverse_temperature.fill_(raised_over_training(progress, start=start, end=end))

    def coordinates(self) -> Coordinates:
        """Return the coordinate addition of the votes for the classes."""
        return coordinates

    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        capsules = self.primary(F.relu(self.stem_gain * self.conv(standardize(images))))
        for layer in self.capsules:
            capsules = layer(capsules, self.inverse_temperature)
        classes = self.classes(capsules, self.inverse_temperature)
        prediction = Prediction(classes.logits, poses=classes.poses)
        compares = self.loss_name == "cross-entropy"
        logits = self._logits(prediction) if compares else prediction.scores
        return prediction._replace(presences=self.class_presences(logits))

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Compute the selected loss; the margin of the spread loss rises over the training."""
        targets = one_hot(batch.targets, self.num_classes)
        if self.loss_name == "cross-entropy":
            return cross_entropy(self._logits(prediction), targets)
        assert prediction.presences is not None
        if self.loss_name == "margin":
            return margin_loss(prediction.presences, targets)
        return self.spread(prediction.presences, targets, progress)

    def logits(self, prediction: Prediction) -> Tensor:
        """Return 20 times β_a minus the cost of each class (article, eq. 27), without λ."""
        return self._logits(prediction).float()

    def _logits(self, prediction: Prediction) -> Tensor:
        """Divide the logits of the presences by λ, so that no schedule changes the loss."""
        smallest = torch.finfo(torch.float32).eps
        return prediction.scores * (self.logit_gain / self.inverse_temperature.clamp_min(smallest))

    def spread(self, presences: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Compute the spread loss, with a margin that rises linearly over the training."""
        return spread_loss(presences, targets, margin=spread_margin(progress))

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return the convolution before its ReLU, and poses and presences of each capsule layer.

        All transformations are claimed: maps move by whole strides, presences do not change, and
        poses are multiplied from the left, see `pose_frame`. Even the convolution moves with the
        image only if nothing leaves it, because its pixels are standardised. In the capsule layers
        a child near the border has fewer parents than others.
        """
        conv = feature_map("conv", self.windows[:1], shift_basis="claimed", source=STANDARDIZED)
        layers = {"conv": conv}
        maps = {"primary": "primary"}
        maps |= {f"capsules {i + 1}": f"capsules.{i}" for i in range(len(self.capsules))}
        for count, (name, module) in enumerate(maps.items(), start=1):
            stride, offset = stride_and_offset(self.windows[:count])
            strides = whole_strides(stride)
            moving = SpatialMap(claimed=strides + LINEAR, source=CLAIM)
            poses: Representation = SpatialMap(claimed=strides, source=CLAIM)
            if self.multiplies_poses:
                poses = MatrixPoseMap(
                    frame=self.pose_frame(), claimed=strides + LINEAR, source=CLAIM
                )
            layers[f"{name} poses"] = LayerOfInterest(
                module, "pose", 0, stride=stride, offset=offset, transformation=poses
            )
            layers[f"{name} presences"] = LayerOfInterest(
                module, "presence", 1, stride=stride, offset=offset, transformation=moving
            )
        class_poses: Representation = Invariant(claimed=SHIFTS, source=CLAIM)
        if self.coordinate_addition:
            views = AFFINE if self.multiplies_poses else SHIFTS
            class_poses = MatrixPoses(frame=self.pose_frame(), claimed=views, source=CLAIM)
        still = Invariant(claimed=AFFINE, source=CLAIM)
        layers["class poses"] = LayerOfInterest("classes", "pose", 0, transformation=class_poses)
        layers["class presences"] = LayerOfInterest(
            "class_presences", "presence", transformation=still
        )
        return layers

    @property
    def multiplies_poses(self) -> bool:
        """True if rows of poses have a meaning in the image: matrices, with added coordinates."""
        x, y = self.pose_frame().x, self.pose_frame().y
        return self.pose == "matrix" and self.coordinate_addition and x[1] == y[1]

    def pose_frame(self) -> PoseFrame:
        """Return the frame of poses that coordinate addition defines (Hinton 2018, section 4).

        The first two entries of the last column of a vote hold row and column, as fractions of the
        map of the last capsules before the classes: the first row of a pose is the axis downwards,
        the second the axis to the right, and the last column the position. Votes M W keep rows
        apart, so that rows have this meaning in all layers.
        """
        _, height, width = self.image_shape
        stride, offset = stride_and_offset(self.windows)
        start = offset - stride / 2  # the first position is the fraction 0.5 / size of its map
        unit = [stride * output_size(side, self.windows) for side in (width, height)]
        return PoseFrame(unit=(unit[0], unit[1]), origin=(start, start), x=(1, 3), y=(0, 3))


class CapsNetEMSmall(CapsNetEM):
    """`CapsNetEM` with the sizes of the smaller network of Hinton, Sabour and Frosst (2018).

    With the defaults (A, B, C, D = 64, 8, 16, 16) it has 68,618 parameters for 32 x 32 images of
    two channels and five classes.

    Args:
        channels: A, channels of the convolution.
        primary_types: B, types of primary capsules.
        types: C, D, ...: types of capsules in each convolutional capsule layer.
        **kwargs: As for `CapsNetEM`.
    """

    name: ClassVar[str] = "capsnet-em-small"

    def __init__(
        self,
        *,
        channels: Positive = 64,
        primary_types: Positive = 8,
        types: tuple[Positive, ...] = (16, 16),
        **kwargs: Any,
    ) -> None:
        super().__init__(channels=channels, primary_types=primary_types, types=types, **kwargs)
