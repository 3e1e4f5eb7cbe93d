"""Random numbers that are a function of names, independent of all earlier draws.

Each draw has a separate generator, made from the seed and the names of the draw. A training that
is resumed, or carried out by several processes, therefore draws the same numbers as any other.
"""

from __future__ import annotations

from hashlib import sha256

from torch import Generator, Tensor

from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views


def derive(*names: int | str) -> int:
    """Return a 63-bit seed made from names, the same on every machine.

    >>> derive(0, "views", 7) == derive(0, "views", 7) != derive(0, "views", 8)
    True
    """
    digest = sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*names: int | str) -> Generator:
    """Return a CPU generator seeded by `derive`."""
    return Generator().manual_seed(derive(*names))


def draw_views(ranges: ViewRange, count: int, *names: int | str) -> Views:
    """Return ``count`` views that are functions of names; tilts have a stream of their own."""
    tilts = generator(*names, "tilt") if ranges.tilts else None
    return Views.draw(ranges, count, generator(*names), tilts)


def views_by_index(ranges: ViewRange, index: Tensor, *names: int | str) -> Views:
    """Return views from a seeded table with a row for each image of the source.

    An image's view does not depend on a limit, a batch size or the number of processes.

    Args:
        ranges: Ranges from which the views are drawn.
        index: (B,) each image's number in its source.
        names: Names of the table.

    Returns:
        B views on the CPU.
    """
    rows = index.cpu()
    return draw_views(ranges, int(rows.max()) + 1, *names)[rows]
