"""Binary matrices of NORB and smallNORB: little-endian, any number of axes.

Layout: a magic number for the type, the number of axes, the length of each axis, all int32; then
the numbers, with the last axis varying fastest. A header holds at least three lengths; those beyond
the number of axes have no meaning.

Source: Y. LeCun, F. J. Huang, The Small NORB Dataset v1.0 (2005), section "File formats".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsbench.files.content import Content, describe_start

TYPES = {
    0x1E3D4C51: "<f4",
    0x1E3D4C53: "<f8",
    0x1E3D4C54: "<i4",
    0x1E3D4C55: "u1",
    0x1E3D4C56: "<i2",
}
PACKED = 0x1E3D4C52
MAX_AXES = 8  # more only occur in invalid headers


def read_norb(content: Content) -> NDArray[Any]:
    """Read a binary matrix.

    Args:
        content: The file, decompressed. For smallNORB: ``-dat`` holds (24300, 2, 96, 96) uint8, the
            left and the right image; ``-cat`` (24300,) int32, the category; ``-info`` (24300, 4)
            int32: instance 0..9, elevation 0..8 (30 to 70 degrees by 5), azimuth 0..34 (in tens of
            degrees, even), lighting 0..5.

    Returns:
        The array, in the shape of the header, a view of the content's memory.

    Raises:
        UserError: The header is of another format, or the file's length does not match it.
    """
    data = content.data
    if len(data) < 20:
        raise content.damaged("a header of at least 20 bytes", f"{len(data)} bytes")
    magic, axes = np.frombuffer(data, "<i4", count=2).tolist()
    if magic == PACKED:
        raise content.damaged("plain numbers", f"packed ones (magic number {magic:#x})")
    if magic not in TYPES:
        known = ", ".join(f"{code:#x}" for code in TYPES)
        raise content.damaged(f"NORB's magic number ({known})", describe_start(data))
    header = 8 + 4 * max(3, axes)
    if not 1 <= axes <= MAX_AXES or len(data) < header:
        raise content.damaged(f"1 to {MAX_AXES} axes and their lengths", f"{axes} axes")
    shape = tuple(np.frombuffer(data, "<i4", count=axes, offset=8).tolist())
    dtype = np.dtype(TYPES[magic])
    length = header + dtype.itemsize * math.prod(shape)
    if min(shape) < 0 or len(data) != length:
        sizes = " x ".join(map(str, shape))
        raise content.damaged(f"{length} bytes for {sizes} numbers", f"{len(data)}")
    array = np.frombuffer(data, dtype, offset=header).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)
