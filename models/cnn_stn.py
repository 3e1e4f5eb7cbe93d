"""A small CNN behind a spatial transformer, after Jaderberg et al. (2015)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.arguments import Positive
from capsbench.capsules.precision import full_precision
from capsbench.contracts import ImageShape, LayerOfInterest, require_size
from capsbench.models._cnn import PlainCNN
from capsbench.models._geometry import output_size, smallest_input
from capsbench.models.cnn_small import small_blocks
from capsbench.representations import AFFINE, Invariant

Transformation = Literal["affine", "similarity", "translation"]
CLAIM = "Jaderberg et al. (2015), section 1: the transformer brings the image into a canonical pose"


class CNNSTN(PlainCNN):
    """The CNN of `CNNSmall` on an image that a learned transformation has put upright.

    A localisation network, three small blocks of convolution and max-pooling with a hidden layer,
    predicts a transformation of the sampling grid from the image (Jaderberg et al. 2015, section
    3). Its last layer starts at zero, so that the first transformation is the identity. The image
    is sampled bilinearly, with zeros beyond its border. The whole is trained by the cross-entropy.

    Args:
        image_shape: (C, H, W) of the images, at least 8 pixels high and wide.
        num_classes: K, the number of classes.
        width: Channels of the first convolution of the classifier.
        hidden: Units of its hidden layer.
        transformation: ``affine`` (6 numbers), ``similarity`` (rotation, scale, shift; 4) or
            ``translation`` (2).
        localisation: Channels of the first convolution of the localisation network.
    """

    source: ClassVar[str] = (
        "Jaderberg, Simonyan, Zisserman, Kavukcuoglu, 'Spatial Transformer Networks' (NIPS 2015), "
        "sizes of our own"
    )

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        width: Positive = 32,
        hidden: Positive = 128,
        transformation: Transformation = "affine",
        localisation: Positive = 8,
    ) -> None:
        require_size(
            "cnn-stn",
            image_shape,
            smallest_input([w for block in small_blocks(1) for w in block.windows]),
        )
        super().__init__(
            name="cnn-stn",
            image_shape=image_shape,
            num_classes=num_classes,
            blocks=small_blocks(width),
            hidden=[hidden],
            front=SpatialTransformer(
                image_shape, transformation=transformation, width=localisation
            ),
        )

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return the transformed image, the maps of the blocks, and the last hidden layer.

        If the transformer works, none of them changes with the view.
        """
        still = Invariant(claimed=AFFINE, source=CLAIM)
        layers = super().layers_of_interest()
        maps = {name: replace(layer, transformation=still) for name, layer in layers.items()}
        return {"transformed image": LayerOfInterest("front", "map", transformation=still), **maps}


class SpatialTransformer(nn.Module):
    """Predict a transformation of each image, and apply it (Jaderberg et al. 2015, figure 2).

    Args:
        image_shape: (C, H, W) of the images.
        transformation: Family of transformations.
        width: Channels of the first convolution of the localisation network.
    """

    def __init__(
        self, image_shape: ImageShape, *, transformation: Transformation, width: int
    ) -> None:
        super().__init__()
        self.transformation = transformation
        units, height, breadth = image_shape
        blocks = small_blocks(width)
        layers: list[nn.Module] = []
        for block in blocks:
            layers.append(block.build(units))
            units = block.channels
        windows = [window for block in blocks for window in block.windows]
        positions = output_size(height, windows) * output_size(breadth, windows)
        last = nn.Linear(32, {"affine": 6, "similarity": 4, "translation": 2}[transformation])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.localisation = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(units * positions, 32), nn.ReLU(), last
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to transformed ones of the same shape."""
        return _sample(images, self.matrices(images)).to(images.dtype)

    def matrices(self, images: Tensor) -> Tensor:
        """Return the transformation (B, 2, 3) of the sampling grid for images (B, C, H, W).

        Positions are from -1 at the left and top edge to 1 at the right and bottom one.
        """
        numbers = self.localisation(images)
        numbers = numbers.to(torch.promote_types(numbers.dtype, torch.float32))
        identity = torch.eye(2, 3, dtype=numbers.dtype, device=numbers.device)
        if self.transformation == "affine":
            return identity + numbers.unflatten(1, (2, 3))
        if self.transformation == "translation":
            return identity + F.pad(numbers[:, :, None], (2, 0))
        along, across, x, y = numbers.unbind(dim=1)
        rows = torch.stack([along, -across, x, across, along, y], dim=1)
        return identity + rows.unflatten(1, (2, 3))


@full_precision
def _sample(images: Tensor, matrices: Tensor) -> Tensor:
    """Sample images (B, C, H, W) at a grid transformed by (B, 2, 3)."""
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
