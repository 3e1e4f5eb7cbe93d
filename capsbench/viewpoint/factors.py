"""Factors of a view: the quantities that vary between images of one object (no torch)."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["warp", "photometric", "recorded"]


class Factor(NamedTuple):
    """Properties of one factor.

    Attributes:
        kind: ``warp`` and ``photometric`` factors are applied to the stored image. A ``recorded``
            factor describes the recording or rendering of the image; images are selected by it.
        unit: Unit of the values.
        identity: Value that leaves an image unchanged; None for recorded factors.
        period: Period of the values; None for factors that are not cyclic.
    """

    kind: Kind
    unit: str
    identity: float | None = None
    period: float | None = None


FACTORS = {
    "rotation": Factor("warp", "°", 0.0, 360.0),
    "shift_x": Factor("warp", "px", 0.0),
    "shift_y": Factor("warp", "px", 0.0),
    "scale": Factor("warp", "×", 1.0),
    "shear": Factor("warp", "°", 0.0),
    "tilt_x": Factor("warp", "°", 0.0),
    "tilt_y": Factor("warp", "°", 0.0),
    "brightness": Factor("photometric", "", 0.0),
    "contrast": Factor("photometric", "×", 1.0),
    "azimuth": Factor("recorded", "°", period=360.0),
    "elevation": Factor("recorded", "°"),
    "lighting": Factor("recorded", ""),
    "distance": Factor("recorded", "×"),
    "instance": Factor("recorded", ""),
}
RECORDED = tuple(name for name, factor in FACTORS.items() if factor.kind == "recorded")


def range_field(factor: str) -> str:
    """Return the field of a `ViewRange` that holds a factor: both shifts share ``shift``."""
    return "shift" if factor.startswith("shift_") else factor
