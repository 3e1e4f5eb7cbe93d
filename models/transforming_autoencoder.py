"""The transforming autoencoder of Hinton, Krizhevsky and Wang (2011)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from capsbench.arguments import NonNegative, Positive
from capsbench.capsules.capsule import Capsules
from capsbench.capsules.losses import cross_entropy
from capsbench.capsules.reconstruction import reconstruction_loss
from capsbench.capsules.relative_error import max_relative_error
from capsbench.contracts import (
    Batch,
    ImageShape,
    LayerOfInterest,
    Model,
    Prediction,
    one_hot,
    require_size,
)
from capsbench.data.randomness import views_by_index
from capsbench.models._frames import (
    Generation,
    MovedPoses,
    Recognition,
    to_pose_units,
    transform_poses,
)
from capsbench.representations import AFFINE, SHIFTS, Invariant
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

# Poses and presences vary by tenths: without this gain a linear map of them learns slowly.
READ_OUT_GAIN = 20.0
CLAIM = (
    "Hinton, Krizhevsky, Wang (2011), sections 1 and 2: instantiation parameters are equivariant, "
    "the probability of an entity is invariant"
)


class TransformingAutoencoder(Model):
    """Transforming autoencoder after Hinton, Krizhevsky and Wang (2011); sizes of our own.

    The recognition units of each capsule estimate the presence and the pose of its part. A given
    transformation is applied to all poses, and the capsules' generation units draw the transformed
    image together. The image is only correct if the poses transform as the image does, so that
    capsules learn poses without labels.

    The loss is the mean squared pixel error, for random views in every step (a fixed view per image
    in evaluation mode), plus the cross-entropy of a linear read-out of the capsules. The gradient
    of the read-out does not reach the capsules, which learn from transformations alone. The two
    terms share no parameter and need no relative weight.

    Args:
        image_shape: (C, H, W) of the images, at least 2 pixels high and wide.
        num_classes: K, the number of classes.
        transformation: Transformations of poses. ``shift``: a pose is a position, which only shifts
            change; ``affine``: a pose is a frame, which also rotates, scales and shears.
        capsules: J, the number of capsules.
        recognition: Recognition units of each capsule.
        generation: Generation units of each capsule.
        max_shift: Training views: maximum shift in x and y, in pixels,
        max_rotation: with ``affine`` maximum rotation, in degrees,
        max_scale: maximum scale; the minimum is its inverse,
        max_shear: and maximum shear, in degrees.
    """

    family: ClassVar[str] = "capsules"
    revision = 3
    source: ClassVar[str] = (
        "Hinton, Krizhevsky, Wang, 'Transforming Auto-encoders' (ICANN 2011); sizes of our own"
    )

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        transformation: Literal["shift", "affine"] = "shift",
        capsules: Positive = 30,
        recognition: Positive = 20,
        generation: Positive = 40,
        max_shift: NonNegative = 3.0,
        max_rotation: NonNegative = 30.0,
        max_scale: Annotated[float, Field(ge=1, le=10)] = 1.2,
        max_shear: Annotated[float, Field(ge=0, lt=90)] = 15.0,
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        require_size("transforming-autoencoder", image_shape, 2)
        self.transformation = transformation
        self.ranges = ViewRange(shift=(-max_shift, max_shift))
        pose_dim = 2
        if transformation == "affine":
            self.ranges = ViewRange(
                shift=(-max_shift, max_shift),
                rotation=(-max_rotation, max_rotation),
                scale=(1 / max_scale, max_scale),
                shear=(-max_shear, max_shear),
            )
            pose_dim = 6
        self.recognition = Recognition(image_shape, capsules, units=recognition, pose_dim=pose_dim)
        self.generation = Generation(image_shape, capsules, units=generation, pose_dim=pose_dim)
        outputs = capsules * (pose_dim + 1)
        self.classes = nn.Linear(outputs, num_classes)

    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1] and draw them.

        Args:
            images: The images.
            views: Views from which to draw the images, relative to the current ones; by default the
                images are drawn unchanged. With ``shift``, capsules follow a rotation or tilt
                about the image centre, but their parts do not rotate or tilt.

        Returns:
            Scores of the read-out; presences (B, J); poses (B, J, D), positions if D = 2 and rows
            of frames if D = 6, in half-sides of the image about its centre; and the reconstruction
            (B, C, H, W).
        """
        capsules = self.recognition(images)
        transformed = capsules if views is None else self.move(capsules, views)
        reconstruction = self.generation(transformed)
        scores = self._read_out(capsules)
        return Prediction(scores, capsules.presences, capsules.poses, reconstruction)

    def move(self, capsules: Capsules, views: Views) -> Capsules:
        """Transform capsules to new views: poses change, presences do not.

        Args:
            capsules: Poses (B, J, D) and presences (B, J).
            views: B views.
        """
        _, height, width = self.image_shape
        transforms = to_pose_units(views.matrices(height, width), height, width)
        return Capsules(transform_poses(capsules.poses, transforms), capsules.presences)

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Compute the mean squared error of images drawn from new views, plus the cross-entropy.

        The views are random in every step; in evaluation mode each image has a fixed view.
        """
        assert prediction.poses is not None
        assert prediction.presences is not None
        capsules = Capsules(prediction.poses, prediction.presences)
        views = self._draw_views(batch.index)
        expected = warp(batch.images, views.matrices(*batch.images.shape[-2:]))
        reconstruction = self.generation(self.move(capsules, views))
        scores = self._read_out(Capsules(capsules.poses.detach(), capsules.presences.detach()))
        targets = one_hot(batch.targets, self.num_classes)
        error = reconstruction_loss(
            reconstruction, expected, weight=1 / math.prod(self.image_shape)
        )
        return error + cross_entropy(scores, targets)

    def _draw_views(self, index: Tensor) -> Views:
        if self.training:
            return Views.draw(self.ranges, len(index), torch.default_generator)
        return views_by_index(self.ranges, index, "views to draw")

    def _read_out(self, capsules: Capsules) -> Tensor:
        outputs = torch.cat([capsules.poses.flatten(start_dim=1), capsules.presences], dim=1)
        scores: Tensor = self.classes(READ_OUT_GAIN * outputs.to(self.classes.weight.dtype))
        return scores

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return poses and presences of the capsules.

        Poses are claimed to move with the image, presences not to change, under the kinds of views
        for which the network is trained. Nothing enforces it except the loss.
        """
        _, height, width = self.image_shape
        factors = AFFINE if self.transformation == "affine" else SHIFTS
        poses = MovedPoses(image_size=(height, width), claimed=factors, source=CLAIM)
        presences = Invariant(claimed=factors, source=CLAIM)
        return {
            "poses": LayerOfInterest("recognition", "pose", 0, transformation=poses),
            "presences": LayerOfInterest("recognition", "presence", 1, transformation=presences),
        }

    def check_rendering(self, images: Tensor, first: Views, second: Views) -> float:
        """Check that two transformations in sequence draw the same image as their product.

        The network may use a view only through the poses; otherwise a chain of views would not be a
        view. Exact to rounding, trained or not.

        Args:
            images: (B, C, H, W).
            first: B views.
            second: B views, relative to the image after ``first``.
        """
        _, height, width = self.image_shape
        both = second.matrices(height, width) @ first.matrices(height, width)
        with self._evaluating():
            poses, presences = capsules = self.recognition(images)
            in_sequence = self.generation(self.move(self.move(capsules, first), second))
            transformed = transform_poses(poses, to_pose_units(both, height, width))
            at_once = self.generation(Capsules(transformed, presences))
        return max_relative_error(in_sequence, at_once)

    def check_view_argument(self, images: Tensor, views: Views) -> float:
        """Check that `forward` with views draws the same image as the transformed poses.

        Args:
            images: (B, C, H, W).
            views: B views.
        """
        with self._evaluating():
            reconstruction = self(images, views).reconstruction
            assert reconstruction is not None
            expected = self.generation(self.move(self.recognition(images), views))
        return max_relative_error(reconstruction, expected)

    def check_pose_equivariance(self, images: Tensor, views: Views) -> float:
        """Compare the poses of transformed images with the transformed poses (article, eq. 3).

        Poses are weighted by presence, since the pose of an absent part is meaningless. The error
        is not zero by construction; it is small only after successful training.

        Args:
            images: (B, C, H, W).
            views: B views.

        Returns:
            The relative error.
        """
        with self._evaluating():
            capsules = self.recognition(images)
            poses = self.recognition(warp(images, views.matrices(*images.shape[-2:]))).poses
            expected = self.move(capsules, views).poses
        weight = capsules.presences[..., None]
        return max_relative_error(weight * poses, weight * expected)
