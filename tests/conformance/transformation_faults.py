"""Models whose declared transformations do not hold."""

from dataclasses import replace

import torch
from torch import nn

from capsbench.conformance.transformations import declared_transformations
from capsbench.contracts import ImageShape, LayerOfInterest
from capsbench.representations import (
    QUARTER_TURNS,
    SHIFTS,
    DeclaredFactor,
    Invariant,
    OrientationMap,
    SpatialMap,
    whole_strides,
)
from tests.conformance.sound import Sound


class NotInvariant(Sound):
    def layers_of_interest(self):
        invariant = Invariant(exact=QUARTER_TURNS)
        return {"hidden": LayerOfInterest("hidden", "vector", transformation=invariant)}


class OtherStride(Sound):
    def layers_of_interest(self):
        moving = SpatialMap(exact=whole_strides(2))
        return {"pooled": replace(super().layers_of_interest()["pooled"], transformation=moving)}


class AnyShift(Sound):
    """Its map is not linear: shifts by whole pixels are exact, and no others."""

    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.body.insert(0, nn.Threshold(0.5, 0.0))

    def layers_of_interest(self):
        moving = SpatialMap(exact=SHIFTS)
        return {"bright": LayerOfInterest("body.0", "map", transformation=moving)}


class AnyRotation(Sound):
    def layers_of_interest(self):
        turning = SpatialMap(exact=(DeclaredFactor("rotation"),))
        return {"pooled": replace(super().layers_of_interest()["pooled"], transformation=turning)}


class OtherOffset(Sound):
    def layers_of_interest(self):
        pooled = super().layers_of_interest()["pooled"]
        moving = SpatialMap(exact=QUARTER_TURNS)
        return {"pooled": replace(pooled, offset=9.5, transformation=moving)}


class NoOrientations(Sound):
    def layers_of_interest(self):
        turning = OrientationMap(exact=QUARTER_TURNS)
        return {"pooled": replace(super().layers_of_interest()["pooled"], transformation=turning)}


class UndefinedTurns(Sound):
    """Four copies of its map are orientations, which have no turn by 30 degrees."""

    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.body.insert(0, nn.Conv2d(image_shape[0], 4 * image_shape[0], 1))
        self.hidden = nn.LazyLinear(3)
        self(torch.zeros(1, *image_shape))

    def layers_of_interest(self):
        turning = OrientationMap(claimed=(DeclaredFactor("rotation"),))
        return {"orientations": LayerOfInterest("body.0", "map", transformation=turning)}


class NoPositions(Sound):
    def layers_of_interest(self):
        moving = SpatialMap(exact=QUARTER_TURNS)
        return {"hidden": LayerOfInterest("hidden", "vector", transformation=moving)}


class OtherShape(Sound):
    def layers_of_interest(self):
        flat = Flattened(claimed=QUARTER_TURNS)
        return {"hidden": LayerOfInterest("hidden", "vector", transformation=flat)}


class Flattened(Invariant):
    def apply(self, features, matrix):
        return features.flatten(1)


class Standardized(Sound):
    """Its images have mean 0, which a shift changes that moves content out."""

    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.body.insert(0, _Centring())

    def layers_of_interest(self):
        moving = SpatialMap(exact=whole_strides(4))
        return {
            "pooled": LayerOfInterest("body.1", "map", stride=4, offset=1.5, transformation=moving)
        }


class _Centring(nn.Module):
    def forward(self, images):
        return images - images.mean(dim=(1, 2, 3), keepdim=True)


class FixedMask(Sound):
    """Its map is multiplied by a weight at each position, which does not move."""

    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        _, height, width = image_shape
        shape = (image_shape[0], height // 4, width // 4)
        self.body = nn.Sequential(nn.AvgPool2d(4), _Mask(shape), nn.Flatten())

    def layers_of_interest(self):
        moving = SpatialMap(exact=whole_strides(4))
        return {
            "masked": LayerOfInterest("body.1", "map", stride=4, offset=1.5, transformation=moving)
        }


class _Mask(nn.LayerNorm):
    def __init__(self, shape):
        super().__init__(shape)
        nn.init.uniform_(self.weight)

    def forward(self, features):
        return self.weight * features + self.bias


# Check, model that fails it, key words of the message.
FAULTS = [
    (declared_transformations, NotInvariant, r"'hidden'.*rotation=90.*Invariant by .*claimed"),
    (declared_transformations, OtherStride, r"'pooled'.*shift_x=2.*SpatialMap"),
    (declared_transformations, AnyShift, r"'bright'.*shift_x=0.5.*SpatialMap"),
    (declared_transformations, AnyRotation, r"'pooled'.*rotation=30.*SpatialMap"),
    (declared_transformations, OtherOffset, r"'pooled'.*rotation=90"),
    (declared_transformations, NoOrientations, "channels in groups of 4; got 1"),
    (declared_transformations, UndefinedTurns, r"'orientations'.*rotation=30.*fewer views"),
    (declared_transformations, NoPositions, "SpatialMap moves positions, but .* has none"),
    (declared_transformations, OtherShape, r"'hidden': Flattened.apply returns the shape \(8, 3\)"),
    (declared_transformations, Standardized, r"'pooled'.*shift_x=4"),
    (declared_transformations, FixedMask, r"'masked'.*shift_x=4"),
]
