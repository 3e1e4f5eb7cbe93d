"""Models whose declared transformations do not hold."""

from dataclasses import replace

from torch import nn

from capsbench.conformance.transformations import declared_transformations
from capsbench.contracts import ImageShape, LayerOfInterest
from capsbench.representations import (
    QUARTER_TURNS,
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


class OtherOffset(Sound):
    def layers_of_interest(self):
        pooled = super().layers_of_interest()["pooled"]
        moving = SpatialMap(exact=QUARTER_TURNS)
        return {"pooled": replace(pooled, offset=9.5, transformation=moving)}


class NoOrientations(Sound):
    def layers_of_interest(self):
        turning = OrientationMap(exact=QUARTER_TURNS)
        return {"pooled": replace(super().layers_of_interest()["pooled"], transformation=turning)}


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
    (declared_transformations, OtherOffset, r"'pooled'.*rotation=90"),
    (declared_transformations, NoOrientations, "channels in groups of 4; got 1"),
    (declared_transformations, NoPositions, "SpatialMap moves positions, but .* has none"),
    (declared_transformations, OtherShape, r"'hidden': Flattened.apply returns the shape \(4, 3\)"),
    (declared_transformations, FixedMask, r"'masked'.*shift_x=4"),
]
