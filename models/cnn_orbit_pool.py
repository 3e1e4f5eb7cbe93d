"""The article's view of a CNN: filters for every viewpoint, and the maximum of their responses."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, pairwise
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from capsbench.arguments import Positive
from capsbench.capsules.relative_error import max_relative_error
from capsbench.contracts import ImageShape, LayerOfInterest, require_size
from capsbench.models._cnn import SequentialClassifier, feature_map
from capsbench.models._filter_bank import OrbitConvolution, transform_images
from capsbench.models._geometry import LayerWindow
from capsbench.models._pooling import GlobalMaxPooling, MaxPooling
from capsbench.representations import (
    QUARTER_TURNS,
    SHIFTS,
    Declared,
    DeclaredFactor,
    Invariant,
)

Enlargement = Annotated[float, Field(ge=1)]

KERNEL, DILATIONS = 5, (1, 2, 3)
POOL = LayerWindow(3, padding=1)
CLAIM = "the article, 'The CNN Solution', eq. 0 and 1"


class CNNOrbitPool(SequentialClassifier):
    """CNN with filters in every rotation and scale, max-pooled over their orbit (article, eq. 1-2).

    'Learn a set of feature detectors for each viewpoint transformation and apply max-pooling to
    each group of transformation specific weights': here the detectors of a group are copies of one
    filter and share its weights, so that the group is complete by construction. There are three
    such layers (5 x 5, the second and third with dilation 2 and 3), each with batch norm and ReLU.
    The first and second are followed by max-pooling over 3 x 3 neighbours, the third by the maximum
    over all positions, since a maximum over the orbit alone gives a map that rotates with the
    image. The last layer is a softmax.

    No layer subsamples. With four or eight rotations the scores are therefore exactly invariant to
    quarter turns of square images of any size. They are exactly invariant to shifts by whole pixels
    if the content stays 14 pixels away from the border. They are approximately invariant to other
    rotations and to scale. The network discards the relative orientations of parts.

    Args:
        image_shape: (C, H, W) of the images, at least 5 pixels high and wide.
        num_classes: K, the number of classes.
        width: Channels of the first and second layer; the third has twice as many.
        rotations: Number of copies of a filter in a full turn; 1 is an ordinary CNN of equal size.
        scales: Enlargements of the copies of a filter; the learned filter has 1.
    """

    revision = 3
    source: ClassVar[str] = (
        "the article's 'The CNN Solution', eq. 1-2; groups of rotated filters as in Riesenhuber, "
        "Poggio, 'Hierarchical models of object recognition in cortex' (1999); sizes of our own"
    )

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        width: Positive = 20,
        rotations: Positive = 8,
        scales: Annotated[tuple[Enlargement, ...], Field(min_length=1)] = (1.0,),
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        require_size("cnn-orbit-pool", image_shape, KERNEL)
        widths = pairwise((image_shape[0], width, width, 2 * width))
        self.windows: list[list[LayerWindow]] = []
        for number, (dilation, (in_channels, channels)) in enumerate(
            zip(DILATIONS, widths, strict=True), start=1
        ):
            conv = OrbitConvolution(
                in_channels,
                channels,
                kernel=KERNEL,
                rotations=rotations,
                scales=scales,
                dilation=dilation,
            )
            layers: list[nn.Module] = [conv, nn.BatchNorm2d(channels), nn.ReLU()]
            self.windows.append([LayerWindow(2 * conv.padding + 1, padding=conv.padding)])
            if number < len(DILATIONS):
                layers.append(MaxPooling(POOL))
                self.windows[-1].append(POOL)
            self.add_module(f"orbits{number}", nn.Sequential(*layers))
        self.rotations = rotations
        self.scales = scales
        self.largest = GlobalMaxPooling()
        self.classes = nn.Linear(2 * width, num_classes)

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return the map after each layer, which rotates with the image, and its maxima.

        Both are exact at quarter turns of square images if the rotations contain them, and are
        claimed at all views whose copies of filters are pooled.
        """
        _, height, width = self.image_shape
        exact = QUARTER_TURNS if height == width and self.rotations % 4 == 0 else ()
        claimed: Declared = (DeclaredFactor("rotation"),) if self.rotations > 1 else ()
        claimed += (DeclaredFactor("scale"),) if len(self.scales) > 1 else ()
        layers = {}
        for count in range(1, len(self.windows) + 1):
            below = list(chain(*self.windows[:count]))
            layers[f"orbits {count}"] = feature_map(
                f"orbits{count}", below, exact=exact, claimed=claimed, source=CLAIM
            )
        # Exact at whole shifts of content far from the border alone, so that shifts are a claim.
        invariant = Invariant(exact=exact, claimed=SHIFTS + claimed, source=CLAIM)
        return {**layers, "largest": LayerOfInterest("largest", "vector", transformation=invariant)}

    def check_orbit_invariance(
        self,
        images: Tensor,
        *,
        degrees: float = 0.0,
        scale: float = 1.0,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> float:
        """Check that the scores do not depend on the view: f(T x) = f(x) (article, eq. 0).

        Args:
            images: (B, C, H, W).
            degrees: Rotation, counter-clockwise.
            scale: Enlargement.
            shift: Pixels, x right and y down.

        Returns:
            The relative error of the scores; about the rounding of the dtype in the exact cases of
            the class.
        """
        transformed = transform_images(images, degrees=degrees, scale=scale, shift=shift)
        with self._evaluating():
            return max_relative_error(self(transformed).scores, self(images).scores)
