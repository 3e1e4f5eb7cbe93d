"""How numbers, views and settings are written, the same in the terminal, the page and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from capsbench.viewpoint.factors import FACTORS as VIEW_FACTORS
from capsbench.viewpoint.spread import Spread, Sweep

FACTORS = {
    "rotation": "Rotation",
    "shift_x": "Horizontal shift",
    "shift_y": "Vertical shift",
    "scale": "Scale",
    "shear": "Shear",
    "brightness": "Brightness",
    "contrast": "Contrast",
    "azimuth": "Azimuth",
    "elevation": "Elevation",
    "lighting": "Lighting",
    "distance": "Distance",
    "instance": "Instance",
}
AXES = {
    "rotation": "rotation (degrees, counter-clockwise)",
    "shift_x": "horizontal shift (pixels, to the right)",
    "shift_y": "vertical shift (pixels, downwards)",
    "scale": "scale (1 = unchanged)",
    "shear": "shear (degrees)",
    "brightness": "brightness (added to pixels in 0 to 1)",
    "contrast": "contrast (1 = unchanged)",
    "azimuth": "azimuth (degrees)",
    "elevation": "elevation (degrees above the horizon)",
    "lighting": "number of the lighting",
    "distance": "distance of the camera (1 = as usual)",
    "instance": "number of the object",
}


MOST_LISTED = 6  # more values at even steps are told by the step


def number(value: float) -> str:
    """A number with a true minus sign and no superfluous zeros.

    >>> number(-90.0), number(0.75)
    ('−90', '0.75')
    """
    return f"{value:g}".replace("-", "−")


def percent(value: float) -> str:
    """A share as a percentage.

    >>> percent(0.9731)
    '97.3 %'
    """
    return f"{share(value)} %"


def share(value: float) -> str:
    """A share in per cent, without the sign.

    >>> share(-0.0004), share(-0.02)
    ('0.0', '−2.0')
    """
    text = f"{100 * value:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "−")


def points(value: float) -> str:
    """A difference of two shares, in percentage points.

    >>> points(0.5625)
    '56.2 pts'
    """
    return f"{share(value)} pts"


def squared_error(value: float) -> str:
    """A mean squared difference of pixels in [0, 1].

    >>> squared_error(0.01873)
    '0.0187'
    """
    return f"{value:.4f}"


def duration(seconds: float) -> str:
    """Wall time.

    >>> duration(20.06), duration(200), duration(7260)
    ('20.1 s', '3 min 20 s', '2 h 1 min')
    """
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """A number of bytes.

    >>> size(0), size(12_300), size(2_500_000_000)
    ('none', '12 kB', '2.5 GB')
    """
    if not count:
        return "none"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5 or unit == "GB":
            break
    return f"{count:.2g} {unit}" if count < 10 else f"{count:.0f} {unit}"


def view(factor: str, value: float) -> str:
    """A view in figures and captions.

    >>> view("rotation", -90.0), view("shift_x", 3), view("scale", 0.8)
    ('−90°', '3 px', '×0.8')
    """
    unit = VIEW_FACTORS[factor].unit
    if unit == "×":
        return f"×{number(value)}"
    gap = " " if unit == "px" else ""
    return f"{number(value)}{gap}{unit}"


def spread(factor: str, values: Spread) -> str:
    """The values that a factor takes.

    >>> spread("rotation", Spread(intervals=((-15, 15),))), spread("scale", Spread(values=(1,)))
    ('−15° to 15°', '×1 only')
    >>> spread("azimuth", Spread(values=(0, 20, 40)))
    '0°, 20° and 40°'
    """
    if values.constant is not None:
        return f"{view(factor, values.constant)} only"
    if values.values:
        steps = {round(b - a, 9) for a, b in pairwise(values.values)}
        if len(steps) == 1 and len(values.values) > MOST_LISTED:
            start, stop = values.limits
            return sweep(factor, Sweep(start=start, stop=stop, step=abs(steps.pop())))
        return listed([view(factor, value) for value in values.values])
    pairs = [f"{view(factor, low)} to {view(factor, high)}" for low, high in values.intervals]
    return listed(pairs)


def sweep(factor: str, values: Sweep) -> str:
    """The views of a sweep.

    >>> sweep("rotation", Sweep(start=-180, stop=180, step=15))
    '−180° to 180° in steps of 15°'
    """
    first, last = values.values()[0], values.values()[-1]
    if first == last:
        return f"{view(factor, first)} only"
    step = number(values.step) if factor == "scale" else view(factor, values.step)
    return f"{view(factor, first)} to {view(factor, last)} in steps of {step}"


def listed(items: Sequence[str]) -> str:
    """Items in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun.

    >>> counted(1, "seed"), counted(1200, "image")
    ('1 seed', '1,200 images')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
