"""Any model, with its answers averaged over views of the image: test-time augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from itertools import product
from math import log
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from capsbench import arguments as signatures
from capsbench.capsules.losses import cross_entropy
from capsbench.capsules.precision import full_precision
from capsbench.contracts import Batch, ImageShape, Model, Prediction, one_hot
from capsbench.errors import UserError, unknown
from capsbench.names import find
from capsbench.trusted_code import require_trusted
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from capsbench.wrapping import model_class

Values = Annotated[tuple[float, ...], Field(min_length=1)]

NETWORK = "cnn-small"
WARPS = [name for name, factor in FACTORS.items() if factor.kind == "warp"]
QUARTERS: Mapping[str, Values] = {"rotation": (0.0, 90.0, 180.0, 270.0)}


class Averaged(Model):
    """A model whose class probabilities are averaged over views of each image.

    The network is trained as if it were alone. In evaluation mode every image is warped to every
    view, and the probabilities of the network are averaged: the brute-force way to an answer that
    does not depend on the view. With the four quarter turns it is exactly invariant to them on
    square images. It costs as many passes as there are views. Only the average is measured: there
    are no poses or presences, and measures of layers find none.

    It has no knobs: search the network alone, and give its values to both.

    Args:
        image_shape: (C, H, W) of the images.
        num_classes: K, the number of classes.
        network: Name of a registered model, or of one of torchvision or timm.
        arguments: Its arguments.
        views: Values of factors by name, such as ``{rotation: [-15, 0, 15]}``. Every combination of
            the values of several factors is a view, the first factor first; outside of a warped
            image is 0.

    Raises:
        UserError: The network or an argument is unknown, or a factor is no warp.
    """

    source: ClassVar[str] = "test-time augmentation, as in Krizhevsky et al. (2012), section 4.1"

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        network: str = NETWORK,
        arguments: Mapping[str, Any] = {},
        views: Mapping[str, Values] = QUARTERS,
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        require_trusted("models", network)
        cls = model_class(find("models", network))
        what = f"model '{network}'"
        given = signatures.resolve(
            cls, dict(arguments), what=what, supplied=signatures.SUPPLIED_TO_MODELS
        )
        try:
            self.network = cls(image_shape=image_shape, num_classes=num_classes, **given)
        except UserError as error:
            raise UserError(f"averaged: {error}") from None
        if not views:
            raise UserError("averaged needs the values of at least one factor in its views")
        for name in views:
            if name not in WARPS:
                raise unknown("factor of the averaged views:", name, WARPS)
        self.register_buffer("grids", _grids(views, image_shape), persistent=False)

    grids: Tensor

    @classmethod
    def revision_with(cls, arguments: Mapping[str, Any]) -> int:
        """Return a number that rises with the revision of this class and that of the network."""
        network = arguments.get("network", NETWORK)
        require_trusted("models", network)
        inner = model_class(find("models", network))
        return cls.revision + inner.revision_with(arguments.get("arguments", {})) - 1

    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]; scores are log-probabilities in evaluation."""
        if self.training:
            prediction: Prediction = self.network(images, views)
            return prediction
        logs = torch.stack([self._log_probabilities(images, grid) for grid in self.grids])
        return Prediction(logs.logsumexp(dim=0) - log(len(self.grids)))

    def _log_probabilities(self, images: Tensor, grid: Tensor) -> Tensor:
        seen = _sample(images, grid)
        return self.network.log_probabilities(self.network(seen))

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Compute the network's own loss in training, the cross-entropy of the average after it."""
        if self.training:
            return self.network.loss(prediction, batch, progress)
        return cross_entropy(prediction.scores, one_hot(batch.targets, self.num_classes))

    def logits(self, prediction: Prediction) -> Tensor:
        """Return those of the network in training, the averaged log-probabilities after it."""
        return self.network.logits(prediction) if self.training else prediction.scores

    def advance(self, progress: float) -> None:
        """Update the schedules of the network."""
        self.network.advance(progress)


def _grids(views: Mapping[str, Values], image_shape: ImageShape) -> Tensor:
    """Return where each view samples the image: (V, H, W, 2), in [-1, 1] from pixel to pixel."""
    _, height, width = image_shape
    if height < 2 or width < 2:
        raise UserError(f"averaged needs images of at least 2 x 2 pixels; got {height} x {width}")
    steps = [
        Views.of_grid([GridView(name, value) for value in values]).matrices(height, width)
        for name, values in views.items()
    ]
    combined = [reduce(lambda one, then: then @ one, chosen) for chosen in product(*steps)]
    backwards = torch.stack(combined).inverse()  # to the source
    rows, columns = torch.meshgrid(
        torch.arange(height).double(), torch.arange(width).double(), indexing="ij"
    )
    pixels = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1)
    source = torch.einsum("vij,hwj->vhwi", backwards, pixels)
    source = source[..., :2] / source[..., 2:]
    return (2 * source / source.new_tensor([width - 1, height - 1]) - 1).float()


@full_precision
def _sample(images: Tensor, grid: Tensor) -> Tensor:
    """Sample images (B, C, H, W) bilinearly at one grid (H, W, 2)."""
    grids = grid.expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grids, align_corners=True)
