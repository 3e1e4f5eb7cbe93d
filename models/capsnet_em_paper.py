"""Matrix capsules with EM routing of Hinton, Sabour and Frosst (2018): text and authors' code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from capsbench.arguments import NonNegative
from capsbench.capsules.coordinates import Coordinates, PixelCoordinates
from capsbench.capsules.em_variants import AUTHORS_CODE, AUTHORS_CODE_CLASSES, PAPER, EMVariant
from capsbench.capsules.losses import spread_loss, spread_margin_sigmoid
from capsbench.contracts import Prediction
from capsbench.models._geometry import stride_and_offset
from capsbench.models.capsnet_em import CapsNetEM, Loss
from capsbench.representations import PoseFrame
from capsbench.search_space import Knob


class CapsNetEMPaper(CapsNetEM):
    """Matrix capsules with EM routing, as in the text of Hinton, Sabour and Frosst (2018).

    The architecture of `CapsNetEM` with the text's spread loss of the presences, whose margin rises
    over the training. The text only says that the inverse temperature rises; here it rises linearly
    to 1. Other details that it leaves open are in `PAPER`.

    Args:
        inverse_temperature: λ at the beginning and at the end of the training.
        loss: The paper's ``spread`` loss, or one of those that it is compared with.
        **kwargs: As for `CapsNetEM`.
    """

    source: ClassVar[str] = (
        "Hinton, Sabour, Frosst, 'Matrix Capsules with EM Routing' (ICLR 2018), the text's network"
    )
    name: ClassVar[str] = "capsnet-em-paper"
    knobs: ClassVar[Mapping[str, Knob]] = {}  # the constants are those of the paper
    variant: ClassVar[EMVariant] = PAPER
    class_variant: ClassVar[EMVariant] = PAPER
    stem_gain: ClassVar[float] = 1.0
    pose_gain: ClassVar[float] = 1.0

    def __init__(
        self,
        *,
        inverse_temperature: tuple[NonNegative, NonNegative] = (0.1, 1.0),
        loss: Loss = "spread",
        **kwargs: Any,
    ) -> None:
        super().__init__(inverse_temperature=inverse_temperature, loss=loss, **kwargs)

    def _logits(self, prediction: Prediction) -> Tensor:
        """Return the logits of the presences."""
        return prediction.scores


class CapsNetEMCode(CapsNetEMPaper):
    """Matrix capsules with EM routing, as in the code of Hinton, Sabour and Frosst (2018).

    The text's network, 316,650 parameters for 32 x 32 images of two channels and five classes, with
    the code's routing (`AUTHORS_CODE`), its coordinate addition in pixels, and its initial values.
    The inverse temperature rises over the iterations of each routing and not over the training;
    that of the class layer is a quarter of the others'. The margin of the spread loss rises along a
    sigmoid, and the loss is also averaged over the classes. The E-step is that of the paper, not of
    the code: all parents of a child compete (article, eq. 29), while the code divides by a sum over
    positions, separately for each type.

    The code also has weight decay: it adds 2e-7 times half of the sum of squared weights to the
    loss. That is part of the recipe and not of the model.

    Args:
        inverse_temperature: λ in the limit of many iterations.
        **kwargs: As for `CapsNetEMPaper`.
    """

    source: ClassVar[str] = (
        "Hinton, Sabour, Frosst, 'Matrix Capsules with EM Routing' (ICLR 2018), the authors' code "
        "(github.com/google-research/google-research, capsule_em)"
    )
    name: ClassVar[str] = "capsnet-em-code"
    variant: ClassVar[EMVariant] = AUTHORS_CODE
    class_variant: ClassVar[EMVariant] = AUTHORS_CODE_CLASSES
    presence_offset: ClassVar[float] = -1.0

    def __init__(self, *, inverse_temperature: NonNegative = 0.01, **kwargs: Any) -> None:
        constant = (inverse_temperature, inverse_temperature)
        super().__init__(inverse_temperature=constant, **kwargs)
        assert self.conv.bias is not None
        nn.init.constant_(self.conv.bias, 0.1)
        for weight, std in (
            (self.conv.weight, 0.05),
            (self.primary.pose.weight, 0.5),
            (self.primary.presence.weight, 3.0),
        ):
            # TensorFlow's normal is truncated at two standard deviations.
            nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)

    def coordinates(self) -> Coordinates:
        """Return coordinate addition with the centre pixel of each receptive field."""
        _, height, width = self.image_shape
        stride, offset = stride_and_offset(self.windows)
        return PixelCoordinates(image_size=(height, width), stride=stride, offset=offset)

    def pose_frame(self) -> PoseFrame:
        """Return the frame of the code's coordinates: x and y are the first entries of a row.

        In one row they cannot be multiplied from the left. Only their shift is claimed.
        """
        _, height, width = self.image_shape
        return PoseFrame(unit=(100.0, 100.0), origin=(width // 2, height // 2), x=(0, 0), y=(0, 1))

    def spread(self, presences: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Compute the spread loss averaged over classes; the margin rises along a sigmoid."""
        margin = spread_margin_sigmoid(progress)
        return spread_loss(presences, targets, margin=margin) / self.num_classes
