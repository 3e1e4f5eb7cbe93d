"""Ranges of views for training and testing, as plain numbers (no torch)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import model_validator

from capsbench.arguments import OneSentence
from capsbench.viewpoint.factors import FACTORS, RECORDED, range_field
from capsbench.viewpoint.joint import SweptView
from capsbench.viewpoint.limits import BOUNDED, require_visible
from capsbench.viewpoint.part import Part
from capsbench.viewpoint.sparse import SparseModel
from capsbench.viewpoint.spread import ONE, ZERO, Region, Spread


class ViewRange(SparseModel, metaclass=OneSentence):
    """Uniform distribution of views, with independent factors.

    A warp or photometric factor that is left out stays at its identity. A recorded factor that is
    left out is not restricted. ``shift`` draws x and y independently; ``scale`` draws one number
    for both axes.

    Attributes:
        rotation: Degrees, counter-clockwise.
        shift: Pixels, in x and in y.
        scale: Factor; above 1 enlarges.
        shear: Degrees.
        tilt_x: Degrees out of the picture about the x axis; positive brings the upper edge nearer.
        tilt_y: Degrees about the y axis; positive moves the right edge away.
        brightness: Added to pixels in [0, 1].
        contrast: Factor of the distance of pixels from their channel's mean.
        part: Part that the warp moves: the ``object`` of the data set's mask, or a window; None
            for the whole image. A part is rotated and scaled about its own centre.
        azimuth: Degrees, as recorded.
        elevation: Degrees above the horizon, as recorded.
        lighting: Number of the lighting.
        distance: Distance of the camera, relative to the default.
        instance: Number of the object within its class.

    Raises:
        UserError: A factor is unknown, or its values are not allowed.
    """

    rotation: Spread = ZERO
    shift: Spread = ZERO
    scale: Spread = ONE
    shear: Spread = ZERO
    tilt_x: Spread = ZERO
    tilt_y: Spread = ZERO
    brightness: Spread = ZERO
    contrast: Spread = ONE
    part: Part = None
    azimuth: Spread | None = None
    elevation: Spread | None = None
    lighting: Spread | None = None
    distance: Spread | None = None
    instance: Spread | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_none(cls, fields: Any) -> Any:
        """Leave out factors that are ``none``."""
        if not isinstance(fields, Mapping):
            return fields
        return {name: value for name, value in fields.items() if value not in (None, "none")}

    @model_validator(mode="after")
    def _check(self) -> Self:
        limits = {name: spread.limits for name in BOUNDED if (spread := self.spread(name))}
        require_visible(**limits)
        if self.contrast.limits[0] < 0:
            raise ValueError("contrast must not be below 0")
        return self

    def spread(self, factor: str) -> Spread | None:
        """Return the values of a factor; None if a recorded factor is not restricted."""
        values: Spread | None = getattr(self, range_field(factor))
        return values

    @property
    def recorded(self) -> dict[str, Spread]:
        """Recorded factors that are restricted, with their values."""
        return {name: spread for name in RECORDED if (spread := self.spread(name)) is not None}

    @property
    def transforms_images(self) -> bool:
        """True if images are warped or their pixels changed."""
        applied = [name for name, factor in FACTORS.items() if factor.kind != "recorded"]
        return any(self.spread(name) != ViewRange().spread(name) for name in applied)

    @property
    def tilts(self) -> bool:
        """True if images are tilted out of the picture."""
        return (self.tilt_x, self.tilt_y) != (ZERO, ZERO)

    def region(self, view: SweptView) -> Region:
        """Classify a view as inside the range, between its values or outside of them.

        ``between`` means interpolation, ``outside`` extrapolation. A view of a grid leaves all
        other applied factors at their identity, which counts too; a view that moves another part
        is outside. A joint view is outside if either factor is, else between if either is.

        >>> from capsbench.viewpoint.grid import GridView
        >>> ViewRange(rotation=(-15, 15)).region(GridView("rotation", 345))
        'familiar'
        >>> ViewRange(rotation=90).region(GridView("shift_x", 0))
        'outside'
        """
        values = {name: factor.identity for name, factor in FACTORS.items()}
        values |= {each.factor: each.value for each in view.components}
        regions = [
            spread.region(value, FACTORS[name].period)
            for name, value in values.items()
            if value is not None and (spread := self.spread(name)) is not None
        ]
        moves = any(
            not each.recorded and each.value != FACTORS[each.factor].identity
            for each in view.components
        )
        if moves and view.part != self.part:
            regions.append("outside")
        return max(regions, key=("familiar", "between", "outside").index)

    def familiar(self, view: SweptView) -> bool:
        """Return whether a view lies inside the range, ends included, angles modulo 360 degrees."""
        return self.region(view) == "familiar"


def recorded_spreads(views: ViewRange | SweptView) -> dict[str, Spread]:
    """Return the recorded factors by which views select images, with their values."""
    if isinstance(views, ViewRange):
        return views.recorded
    return {each.factor: Spread(values=(each.value,)) for each in views.components if each.recorded}
