"""Random numbers that are a function of names, so that nothing depends on what was drawn before.

A training that is resumed, or carried out by several processes, draws the same numbers as one that
is not: each draw has a generator of its own, made from the seed and the names of the draw.
"""

from __future__ import annotations

from hashlib import sha256

from torch import Generator, Tensor

from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views


def derive(*names: int | str) -> int:
    """A 63-bit seed made from names, the same on every machine.

    >>> derive(0, "views", 7) == derive(0, "views", 7) != derive(0, "views", 8)
    True
    """
    digest = sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*names: int | str) -> Generator:
    """A CPU generator seeded by `derive`."""
    return Generator().manual_seed(derive(*names))


def views_by_index(ranges: ViewRange, index: Tensor, *names: int | str) -> Views:
    """Views from a seeded table with a row for each image of the source.

    A limit, a batch size or the number of processes gives no image another view.

    Args:
        ranges: Where views are drawn from.
        index: (B,) each image's number in its source.
        names: Names of the table.

    Returns:
        B views on the CPU.
    """
    rows = index.cpu()
    return Views.draw(ranges, int(rows.max()) + 1, generator(*names))[rows]
