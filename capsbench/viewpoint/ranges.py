"""Ranges of views to train in and to test on, as plain numbers (no torch)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from capsbench.viewpoint.factors import FACTORS, RECORDED, field_of
from capsbench.viewpoint.grid import GridView, require_invertible
from capsbench.viewpoint.part import Part
from capsbench.viewpoint.spread import STILL, UNCHANGED, Place, Spread


class ViewRange(BaseModel):
    """What views there are, factor by factor; every combination is alike likely.

    A warp or a photometric change that is left out stays at its identity. A recorded factor that
    is left out is not restricted. ``shift`` draws x and y independently, ``scale`` draws one number
    for both axes.

    Attributes:
        rotation: Degrees, counter-clockwise.
        shift: Pixels, in x and in y.
        scale: Factor, above 1 enlarges.
        shear: Degrees.
        brightness: Added to pixels in [0, 1].
        contrast: Factor of the distance of pixels from their channel's mean.
        part: What is moved by the warp: the whole image if left out; the ``object`` that the data
            set's mask shows; or a window. The part turns and grows about its own centre.
        azimuth: Degrees, as recorded.
        elevation: Degrees above the horizon, as recorded.
        lighting: Number of the lighting.
        distance: Of the camera, relative to the usual one.
        instance: Number of the object within its class.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation: Spread = STILL
    shift: Spread = STILL
    scale: Spread = UNCHANGED
    shear: Spread = STILL
    brightness: Spread = STILL
    contrast: Spread = UNCHANGED
    part: Part = None
    azimuth: Spread | None = None
    elevation: Spread | None = None
    lighting: Spread | None = None
    distance: Spread | None = None
    instance: Spread | None = None

    @model_validator(mode="before")
    @classmethod
    def _none(cls, given: Any) -> Any:
        """A factor that is ``none`` is left out."""
        if not isinstance(given, Mapping):
            return given
        return {name: value for name, value in given.items() if value not in (None, "none")}

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_invertible(self.scale.limits[0], *self.shear.limits)
        if self.contrast.limits[0] < 0:
            raise ValueError("contrast must not lie below 0")
        return self

    def spread(self, factor: str) -> Spread | None:
        """The values of a factor; None where a recorded one is not restricted."""
        found: Spread | None = getattr(self, field_of(factor))
        return found

    @property
    def recorded(self) -> dict[str, Spread]:
        """The recorded factors that are restricted."""
        return {name: spread for name in RECORDED if (spread := self.spread(name)) is not None}

    @property
    def moves(self) -> bool:
        """Whether any image is warped or changed in its pixels."""
        fields = {field_of(name) for name, factor in FACTORS.items() if factor.kind != "recorded"}
        return any(getattr(self, name) != getattr(ViewRange(), name) for name in fields)

    def place(self, view: GridView) -> Place:
        """Where a view lies: among these, between them (interpolation) or beyond (extrapolation).

        A view of a grid leaves all other warps, and the light, at their identity, which has to be
        among these too; and what moves has to be the same part.

        >>> ViewRange(rotation=(-15, 15)).place(GridView("rotation", 345))
        'familiar'
        >>> ViewRange(rotation=90).place(GridView("shift_x", 0))
        'outside'
        """
        values = {name: factor.identity for name, factor in FACTORS.items()}
        values[view.factor] = view.value
        places = [
            spread.place(value, FACTORS[name].period)
            for name, value in values.items()
            if value is not None and (spread := self.spread(name)) is not None
        ]
        moves = not view.recorded and view.value != FACTORS[view.factor].identity
        if moves and view.part != self.part:
            places.append("outside")
        return max(places, key=("familiar", "between", "outside").index)

    def familiar(self, view: GridView) -> bool:
        """Whether a view lies inside the range, ends included (angles modulo 360 degrees)."""
        return self.place(view) == "familiar"

    def with_recorded(self, recorded: Mapping[str, Any]) -> ViewRange:
        """The same warps with other restrictions of recorded factors."""
        kept = {name: spread for name, spread in self if name not in RECORDED}
        return ViewRange(**kept, **recorded)
