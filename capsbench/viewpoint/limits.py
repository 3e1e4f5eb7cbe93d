"""Limits of views: warps that cannot be inverted or seen are refused early (no torch)."""

from __future__ import annotations

import math

FIELD_OF_VIEW = 60.0  # degrees, of the longer side of an image
# Distance of the camera from the image, in halves of the image's longer side.
CAMERA_DISTANCE = 1 / math.tan(math.radians(FIELD_OF_VIEW / 2))
MIN_SCALE = 0.01

BOUNDED = ("scale", "shear", "tilt_x", "tilt_y")

Limits = tuple[float, float]
ZERO = (0.0, 0.0)


def require_visible(
    *,
    scale: Limits = (1.0, 1.0),
    shear: Limits = ZERO,
    tilt_x: Limits = ZERO,
    tilt_y: Limits = ZERO,
) -> None:
    """Refuse warps that cannot be inverted, or that turn content behind the camera.

    The camera looks at the centre of the transformation. The bound on tilt and scale holds for
    every rotation and shape of image, because it assumes that a corner lies in the direction of the
    tilt. A part is assumed to reach no further from its own centre than a whole image.

    Args:
        scale: Lowest and highest scale.
        shear: Lowest and highest shear in degrees.
        tilt_x: Lowest and highest tilt about the x axis in degrees.
        tilt_y: Lowest and highest tilt about the y axis in degrees.

    Raises:
        ValueError: A scale near 0, a shear or tilt of 90 degrees or more, or a tilt that may turn a
            corner behind the camera; pydantic shows the message.
    """
    if scale[0] < MIN_SCALE:
        raise ValueError(f"scale must not be below {MIN_SCALE}")
    slant, turn_x, turn_y = (max(map(abs, limits)) for limits in (shear, tilt_x, tilt_y))
    for name, angle in (("shear", slant), ("tilt_x", turn_x), ("tilt_y", turn_y)):
        if angle >= 90:
            raise ValueError(f"{name} must be between -90 and 90 degrees")
    sine = math.sqrt(1 - (math.cos(math.radians(turn_x)) * math.cos(math.radians(turn_y))) ** 2)
    tangent = math.tan(math.radians(slant))
    stretch = (tangent + math.hypot(tangent, 2)) / 2  # largest singular value of the shear
    reach = math.sqrt(2) * scale[1] * stretch
    if reach * sine >= CAMERA_DISTANCE:
        raise ValueError(
            f"tilts up to {turn_x:g} and {turn_y:g} degrees at scale {scale[1]:g} may turn corners "
            f"behind the camera, which is {CAMERA_DISTANCE:.2f} half sides away (field of view "
            f"{FIELD_OF_VIEW:g} degrees): make the tilt, scale or shear smaller"
        )
