"""NPZ files with required arrays."""

from __future__ import annotations

from collections.abc import Mapping

from capsbench.files.arrays import Arrays, parse_npz
from capsbench.files.content import Content

ArraySpec = tuple[int | tuple[int, ...], str]  # number or numbers of axes, kinds of dtype


def read_npz(content: Content, required: Mapping[str, ArraySpec]) -> Arrays:
    """Read required arrays of an NPZ file.

    Args:
        content: The file.
        required: For each array the allowed number or numbers of axes, and the allowed kinds of
            its dtype, a string of numpy's letters such as ``"u"`` or ``"iu"``.

    Returns:
        The required arrays.

    Raises:
        UserError: The file is damaged or holds objects, or an array is missing or of another type.
    """
    arrays = parse_npz(content)
    for name, (axes, kinds) in required.items():
        if name not in arrays:
            raise content.damaged(f"an array {name!r}", ", ".join(arrays) or "none")
        array = arrays[name]
        allowed = (axes,) if isinstance(axes, int) else axes
        if array.ndim not in allowed or array.dtype.kind not in kinds:
            numbers = " or ".join(map(str, allowed))
            expected = f"{name!r} with {numbers} axes and a dtype of kind {' or '.join(kinds)}"
            raise content.damaged(expected, f"{array.dtype} {array.shape}")
    return {name: arrays[name] for name in required}
