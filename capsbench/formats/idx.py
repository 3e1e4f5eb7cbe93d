"""IDX, the format of MNIST and similar sets; big-endian, any number of axes.

Layout: two zero bytes, one byte for the type, one for the number of axes; the length of each axis
as uint32; the numbers, with the last axis varying fastest.

Source: Y. LeCun, C. Cortes, C. Burges, The MNIST Database of Handwritten Digits (1998).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsbench.files.content import Content, describe_start

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(content: Content) -> NDArray[Any]:
    """Read an IDX file.

    Args:
        content: The file, decompressed.

    Returns:
        The array, in the shape of the header, a view of the content's memory if it is uint8.

    Raises:
        UserError: The header is of another format, or the file's length does not match it.
    """
    data = content.data
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in TYPES:
        start = describe_start(data)
        raise content.damaged("an IDX file (00 00, a type, a number of axes)", start)
    axes = data[3]
    header = 4 + 4 * axes
    if len(data) < header:
        raise content.damaged(f"a header of {header} bytes for {axes} axes", f"{len(data)} bytes")
    shape = tuple(np.frombuffer(data, ">u4", count=axes, offset=4).tolist())
    dtype = np.dtype(TYPES[data[2]])
    length = header + dtype.itemsize * math.prod(shape)
    if len(data) != length:
        sizes = " x ".join(map(str, shape))
        raise content.damaged(f"{length} bytes for {sizes} numbers", f"{len(data)}")
    array = np.frombuffer(data, dtype, offset=header).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)
