"""The factors of a view: what may change between two images of the same thing (no torch)."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["warp", "photometric", "recorded"]


class Factor(NamedTuple):
    """One number of a view.

    Attributes:
        kind: ``warp`` and ``photometric`` are applied to the stored image; ``recorded`` is how the
            object stood when its image was taken or rendered, and can only be chosen from.
        unit: What the number counts.
        identity: The value that changes nothing; nothing where there is none.
        period: The values repeat after this; nothing where they do not.
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
    "brightness": Factor("photometric", "", 0.0),
    "contrast": Factor("photometric", "×", 1.0),
    "azimuth": Factor("recorded", "°", period=360.0),
    "elevation": Factor("recorded", "°"),
    "lighting": Factor("recorded", ""),
    "distance": Factor("recorded", "×"),
    "instance": Factor("recorded", ""),
}
RECORDED = tuple(name for name, factor in FACTORS.items() if factor.kind == "recorded")


def field_of(factor: str) -> str:
    """The field of a range that speaks of a factor: both shifts share ``shift``."""
    return "shift" if factor.startswith("shift_") else factor
