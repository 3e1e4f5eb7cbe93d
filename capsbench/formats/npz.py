"""NPZ files with named arrays of known kinds."""

from __future__ import annotations

from collections.abc import Mapping

from capsbench.files.arrays import Arrays, unpack
from capsbench.files.content import Content

Kind = tuple[int | tuple[int, ...], str]


def read_npz(content: Content, wanted: Mapping[str, Kind]) -> Arrays:
    """Read some arrays of an NPZ file.

    Args:
        content: The file.
        wanted: For each array its number of axes, or several that it may have, and its dtype's
            kinds, a string of numpy's letters such as ``"u"`` or ``"iu"``.

    Returns:
        The wanted arrays.

    Raises:
        UserError: The file is damaged, holds objects, or a wanted array is missing or of another
            kind.
    """
    arrays = unpack(content)
    for name, (axes, kinds) in wanted.items():
        if name not in arrays:
            raise content.damaged(f"an array {name!r}", ", ".join(arrays) or "none")
        array = arrays[name]
        allowed = (axes,) if isinstance(axes, int) else axes
        if array.ndim not in allowed or array.dtype.kind not in kinds:
            numbers = " or ".join(map(str, allowed))
            expected = f"{name!r} with {numbers} axes and a dtype of kind {' or '.join(kinds)}"
            raise content.damaged(expected, f"{array.dtype} {array.shape}")
    return {name: arrays[name] for name in wanted}
