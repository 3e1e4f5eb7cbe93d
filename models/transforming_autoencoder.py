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
from capsbench.capsules.deviation import deviation
from capsbench.capsules.losses import cross_entropy
from capsbench.capsules.reconstruction import reconstruction_loss
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
from capsbench.models._frames import Generation, Recognition, in_half_sides, transform
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

# Poses and presences vary by tenths: a linear map of them as they are would learn slowly.
READ_OUT_GAIN = 20.0


class TransformingAutoencoder(Model):
    """Transforming autoencoder after Hinton, Krizhevsky and Wang (2011); sizes of our own.

    Each capsule's recognition units say how likely its part is in the image and where: its pose.
    The network is told a transformation, which moves all poses alike, and the capsules' generation
    units draw the moved image together. To draw it well, a capsule must mean by its pose what the
    transformation means: nobody else tells it.

    The loss is the squared error of the drawn pixels, for views drawn anew in every step (always
    the same ones per image in evaluation mode), and the cross-entropy of a linear read-out of
    the capsules. The read-out's loss does not reach the capsules, which learn from transformations
    alone; as the two terms share no parameter, they need no weight.

    Args:
        image_shape: (C, H, W) of the images, at least 2 pixels high and wide.
        num_classes: K.
        transformation: What moves a capsule. ``shift``: a part has a position, and nothing else
            that a view changes; ``affine``: it has a frame, and turns, grows and slants as well.
        capsules: J.
        recognition: Recognition units of each capsule.
        generation: Generation units of each capsule.
        max_shift: Views to learn from: shifts in x and y up to so many pixels,
        max_rotation: with ``affine`` rotations up to so many degrees,
        max_scale: scales from the inverse of this to this,
        max_shear: and shears up to so many degrees.
    """

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
            views: Views from which to draw them, seen from where they stand now; left out, they are
                drawn as they are. A capsule that knows its position alone follows a turn about the
                image's centre, but does not turn itself.

        Returns:
            Scores of the read-out, presences (B, J), poses (B, J, D), of which D = 2 are positions
            and D = 6 the rows of frames, in half-sides of the image about its centre, and the
            reconstruction (B, C, H, W).
        """
        capsules = self.recognition(images)
        shown = capsules if views is None else self.move(capsules, views)
        reconstruction = self.generation(shown)
        scores = self._read_out(capsules)
        return Prediction(scores, capsules.presences, capsules.poses, reconstruction)

    def move(self, capsules: Capsules, views: Views) -> Capsules:
        """The capsules of images that are seen from ``views``: poses move, presences stay.

        Args:
            capsules: Poses (B, J, D) and presences (B, J).
            views: B views.
        """
        _, height, width = self.image_shape
        transforms = in_half_sides(views.matrices(height, width), height, width)
        return Capsules(transform(capsules.poses, transforms), capsules.presences)

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Mean squared error of the pixels drawn for new views, and the read-out's cross-entropy.

        The views are drawn anew at every step; in evaluation mode each image has its own for ever.
        """
        assert prediction.poses is not None
        assert prediction.presences is not None
        capsules = Capsules(prediction.poses, prediction.presences)
        views = self._draw_views(batch.index)
        expected = warp(batch.images, views.matrices(*batch.images.shape[-2:]))
        drawn = self.generation(self.move(capsules, views))
        scores = self._read_out(Capsules(capsules.poses.detach(), capsules.presences.detach()))
        targets = one_hot(batch.targets, self.num_classes)
        error = reconstruction_loss(drawn, expected, weight=1 / math.prod(self.image_shape))
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
        """Poses and presences of the capsules."""
        return {
            "poses": LayerOfInterest("recognition", "pose", 0),
            "presences": LayerOfInterest("recognition", "presence", 1),
        }

    def check_rendering(self, images: Tensor, first: Views, second: Views) -> float:
        """Whether moving twice draws what the product of both transformations draws at once.

        A network that is told of a view must not see it in any other way than through the poses, or
        a chain of views would not be a view. Exact to rounding, trained or not.

        Args:
            images: (B, C, H, W).
            first: B views.
            second: B views, of the image that ``first`` shows.
        """
        _, height, width = self.image_shape
        both = second.matrices(height, width) @ first.matrices(height, width)
        with self._evaluating():
            poses, presences = capsules = self.recognition(images)
            twice = self.generation(self.move(self.move(capsules, first), second))
            moved = transform(poses, in_half_sides(both, height, width))
            at_once = self.generation(Capsules(moved, presences))
        return deviation(twice, at_once)

    def check_told_view(self, images: Tensor, views: Views) -> float:
        """Whether an image that is drawn from a view is the drawing of its moved poses.

        Args:
            images: (B, C, H, W).
            views: B views.
        """
        with self._evaluating():
            told = self(images, views).reconstruction
            drawn = self.generation(self.move(self.recognition(images), views))
        return deviation(told, drawn)

    def check_pose_equivariance(self, images: Tensor, views: Views) -> float:
        """How far the poses of moved images are from the moved poses (article, eq. 3).

        Poses count as much as their capsule is present in the image: where a part is absent, its
        pose says nothing. Nothing makes this exact; it is small where training has made it so.

        Args:
            images: (B, C, H, W).
            views: B views.
        """
        with self._evaluating():
            capsules = self.recognition(images)
            found = self.recognition(warp(images, views.matrices(*images.shape[-2:]))).poses
            expected = self.move(capsules, views).poses
        weight = capsules.presences[..., None]
        return deviation(weight * found, weight * expected)
