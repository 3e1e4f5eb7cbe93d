"""Base of capsule networks whose scores are the lengths of their class capsules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from capsbench.capsules.losses import margin_loss
from capsbench.capsules.reconstruction import ClassConditionalDecoder, reconstruction_loss
from capsbench.contracts import Batch, Model, Prediction, one_hot, one_hot_by_object
from capsbench.models._presences import log_presences


class ClassLengths(Model):
    """Class capsules with the margin loss, and a decoder of their poses (Sabour 2017, section 4).

    A network calls `add_decoder` at the end of its constructor, and `predict` in `forward`.
    """

    family: ClassVar[str] = "capsules"
    decoder: ClassConditionalDecoder | None
    reconstruction_weight: float

    def add_decoder(self, pose_dim: int, hidden: Sequence[int], *, weight: float) -> None:
        """Create the decoder.

        Args:
            pose_dim: Length of the poses of class capsules.
            hidden: Widths of the decoder's hidden layers; empty for no decoder.
            weight: Weight of the sum of squared pixel errors.
        """
        self.decoder = None
        if hidden:
            self.decoder = ClassConditionalDecoder(
                num_classes=self.num_classes,
                pose_dim=pose_dim,
                image_shape=self.image_shape,
                hidden=hidden,
            )
        self.reconstruction_weight = weight

    def predict(self, poses: Tensor, presences: Tensor) -> Prediction:
        """Return the prediction of class capsules; a decoder draws the most likely class."""
        reconstruction = None
        if self.decoder is not None:
            predicted = one_hot(presences.argmax(dim=1), self.num_classes)
            reconstruction = self.decoder(poses, predicted)
        return Prediction(presences, presences, poses, reconstruction)

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Compute the margin loss; with a decoder add the reconstruction loss of the true classes.

        If an image has several objects, each is reconstructed separately from its own class, and
        the reconstruction losses are summed, as in the authors' code.
        """
        assert prediction.poses is not None
        targets = one_hot(batch.targets, self.num_classes)
        loss = margin_loss(prediction.scores, targets)
        if self.decoder is None:
            return loss
        weight = self.reconstruction_weight
        if batch.objects is None:
            reconstruction = self.decoder(prediction.poses, targets)
            return loss + reconstruction_loss(reconstruction, batch.images, weight=weight)
        for number, classes in enumerate(
            one_hot_by_object(targets, batch.objects.shape[1]).unbind(1)
        ):
            reconstruction = self.decoder(prediction.poses, classes)
            loss = loss + reconstruction_loss(
                reconstruction, batch.objects[:, number], weight=weight
            )
        return loss

    def logits(self, prediction: Prediction) -> Tensor:
        """Return the logarithms (B, K) of the presences."""
        return log_presences(prediction.scores)
