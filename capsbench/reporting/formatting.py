"""Numbers, views and settings as text, the same in the terminal, on the page and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import NamedTuple

from capsbench.viewpoint.factors import FACTORS as VIEW_FACTORS
from capsbench.viewpoint.spread import Spread, Sweep

FACTORS = {
    "rotation": "Rotation",
    "shift_x": "Horizontal shift",
    "shift_y": "Vertical shift",
    "scale": "Scale",
    "shear": "Shear",
    "tilt_x": "Tilt about the x axis",
    "tilt_y": "Tilt about the y axis",
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
    "tilt_x": "tilt about the x axis (degrees, upper edge nearer)",
    "tilt_y": "tilt about the y axis (degrees, right edge away)",
    "brightness": "brightness (added to pixels in 0 to 1)",
    "contrast": "contrast (1 = unchanged)",
    "azimuth": "azimuth (degrees)",
    "elevation": "elevation (degrees above the horizon)",
    "lighting": "number of the lighting",
    "distance": "distance of the camera (1 = as usual)",
    "instance": "number of the object",
}

MAX_LISTED = 6  # more values at even steps are given by the step


def number(value: float) -> str:
    """Return a number with a minus sign and without superfluous zeros.

    >>> number(-90.0), number(0.75)
    ('−90', '0.75')
    """
    return f"{value:g}".replace("-", "−")


def percent(value: float) -> str:
    """Return a share as a percentage.

    >>> percent(0.9731)
    '97.3 %'
    """
    return f"{share(value)} %"


def share(value: float) -> str:
    """Return a share in per cent, without the per cent sign.

    >>> share(-0.0004), share(-0.02)
    ('0.0', '−2.0')
    """
    text = f"{100 * value:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "−")


def points(value: float) -> str:
    """Return a difference of two shares in percentage points.

    >>> points(0.5625)
    '56.2 pts'
    """
    return f"{share(value)} pts"


def squared_error(value: float) -> str:
    """Return a mean squared difference of pixels in [0, 1].

    >>> squared_error(0.01873)
    '0.0187'
    """
    return f"{value:.4f}"


def measured(value: float) -> str:
    """Return a measured number without a unit, with three digits or all of a whole number.

    >>> measured(0.650612), measured(-12.3456), measured(1234.5), measured(200.0)
    ('0.651', '−12.3', '1,234', '200')
    """
    if value.is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    return number(float(f"{value:.3g}"))


def count(value: float) -> str:
    """Return a whole number, or the mean of some.

    >>> count(188906.0), count(2.5)
    ('188,906', '2.5')
    """
    return f"{value:,.0f}" if value.is_integer() or value >= 1000 else number(value)


def duration(seconds: float) -> str:
    """Return a wall time.

    >>> duration(20.06), duration(200), duration(7260)
    ('20.1 s', '3 min 20 s', '2 h 1 min')
    """
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(num_bytes: float) -> str:
    """Return a number of bytes.

    >>> size(0), size(12_300), size(2_500_000_000)
    ('none', '12 kB', '2.5 GB')
    """
    if not num_bytes:
        return "none"
    for unit in ("kB", "MB", "GB"):
        num_bytes /= 1000
        if num_bytes < 999.5 or unit == "GB":
            break
    return f"{num_bytes:.2g} {unit}" if num_bytes < 10 else f"{num_bytes:.0f} {unit}"


def rate(per_second: float) -> str:
    """Return a number per second.

    >>> rate(1234.5), rate(12.345)
    ('1,234', '12.3')
    """
    return f"{per_second:,.0f}" if per_second >= 1000 else f"{per_second:.3g}"


def interval_text(limits: tuple[float, float], bare: Callable[[float], str]) -> str:
    """Return an interval in words, with more digits where rounding would make it contain zero.

    >>> interval_text((-0.019, -0.0003), share), interval_text((-0.019, 0.0003), share)
    ('−1.9 to −0.03', '−1.9 to 0.0')
    """
    texts = [bare(limit) for limit in limits]
    if limits[0] * limits[1] > 0:
        factor = 100 if bare is share else 1
        texts = [
            number(float(f"{factor * limit:.1g}")) if not text.strip("−0.") else text
            for text, limit in zip(texts, limits, strict=True)
        ]
    return " to ".join(texts)


class NumberFormat(NamedTuple):
    """Format of the numbers of one unit.

    Attributes:
        text: Function that writes a number with its unit.
        bare: Function that writes a number next to others that have the unit.
    """

    text: Callable[[float], str]
    bare: Callable[[float], str]


# The units of `capsbench.measures.ValueSpec`, and wall time.
NUMBER_FORMATS = {
    "share": NumberFormat(percent, share),
    "ratio": NumberFormat(percent, share),
    "difference of shares": NumberFormat(points, share),
    "squared error": NumberFormat(squared_error, squared_error),
    "number": NumberFormat(measured, measured),
    "count": NumberFormat(count, count),
    "bytes": NumberFormat(size, size),
    "per second": NumberFormat(lambda value: f"{rate(value)} per second", rate),
    "seconds": NumberFormat(duration, duration),
}


def view(factor: str, value: float) -> str:
    """Return a view as text for figures and captions.

    >>> view("rotation", -90.0), view("shift_x", 3), view("scale", 0.8)
    ('−90°', '3 px', '×0.8')
    """
    unit = VIEW_FACTORS[factor].unit
    if unit == "×":
        return f"×{number(value)}"
    gap = " " if unit == "px" else ""
    return f"{number(value)}{gap}{unit}"


def spread(factor: str, values: Spread) -> str:
    """Return the values of a factor as text.

    >>> spread("rotation", Spread(intervals=((-15, 15),))), spread("scale", Spread(values=(1,)))
    ('−15° to 15°', '×1 only')
    >>> spread("azimuth", Spread(values=(0, 20, 40)))
    '0°, 20° and 40°'
    """
    if values.constant is not None:
        return f"{view(factor, values.constant)} only"
    if values.values:
        steps = {round(b - a, 9) for a, b in pairwise(values.values)}
        if len(steps) == 1 and len(values.values) > MAX_LISTED:
            start, stop = values.limits
            return sweep(factor, Sweep(start=start, stop=stop, step=abs(steps.pop())))
        return listed([view(factor, value) for value in values.values])
    pairs = [f"{view(factor, low)} to {view(factor, high)}" for low, high in values.intervals]
    return listed(pairs)


def sweep(factor: str, values: Sweep) -> str:
    """Return the views of a sweep as text.

    >>> sweep("rotation", Sweep(start=-180, stop=180, step=15))
    '−180° to 180° in steps of 15°'
    """
    first, last = values.values()[0], values.values()[-1]
    if first == last:
        return f"{view(factor, first)} only"
    step = number(values.step) if factor == "scale" else view(factor, values.step)
    return f"{view(factor, first)} to {view(factor, last)} in steps of {step}"


def listed(items: Sequence[str]) -> str:
    """Join items as in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def count_range(counts: Collection[int]) -> str:
    """Return the smallest and the largest of some counts.

    >>> count_range({4, 1, 3}), count_range([1200, 1200])
    ('1 to 4', '1,200')
    """
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def counted_range(counts: Collection[int], noun: str) -> str:
    """Return a range of counts with its noun.

    >>> counted_range({1, 4}, "image"), counted_range([1], "image")
    ('1 to 4 images', '1 image')
    """
    low, high = min(counts), max(counts)
    return counted(high, noun) if low == high else f"{low:,} to {counted(high, noun)}"


def counted(items: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun.

    >>> counted(1, "seed"), counted(1200, "image")
    ('1 seed', '1,200 images')
    """
    return f"{items:,} {noun if items == 1 else plural or noun + 's'}"
