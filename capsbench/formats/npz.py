"""NPZ files with required arrays."""

from __future__ import annotations

from collections.abc import Mapping

from capsbench.files.arrays import Arrays, parse_npz
from capsbench.files.content import Content

ArraySpec = tuple[int | tuple[int, ...], str]  # number or numbers of axes, kinds of dtype


def read_npz(
    content: Content,
    required: Mapping[str, ArraySpec],
    optional: Mapping[str, ArraySpec] | None = None,
) -> Arrays:
    """Read some arrays of an NPZ file; others are not unpacked.

    Args:
        content: The file.
        required: For each array the allowed number or numbers of axes, and the allowed kinds of
            its dtype, a string of numpy's letters such as ``"u"`` or ``"iu"``.
        optional: The same for arrays that the file may lack.

    Returns:
        The required arrays, and those of the optional ones that are there.

    Raises:
        UserError: The file is damaged or holds objects, or an array is missing or of another type.
    """
    known = {**required, **(optional or {})}
    arrays = parse_npz(content, known, required)
    for name, array in arrays.items():
        axes, kinds = known[name]
        allowed = (axes,) if isinstance(axes, int) else axes
        if array.ndim not in allowed or array.dtype.kind not in kinds:
            numbers = " or ".join(map(str, allowed))
            expected = f"{name!r} with {numbers} axes and a dtype of kind {' or '.join(kinds)}"
            raise content.damaged(expected, f"{array.dtype} {array.shape}")
    return arrays
