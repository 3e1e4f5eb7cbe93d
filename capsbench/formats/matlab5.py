"""Reader for numbers in MATLAB files of version 5: matrices, and structures of matrices.

Layout: a header of 128 bytes, then elements. An element is a type, a length, the data and padding
to a multiple of eight bytes; data of up to four bytes is stored in the tag itself. A variable is an
element of elements: class, dimensions, name and numbers; it is often compressed by zlib. Each
length is compared with the available bytes before it is used, and all variables together with a
limit. Text, cells, objects, and sparse,
complex and empty matrices are refused.

Source: The MathWorks, MAT-File Format, "Level 5 MAT-File Format".
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsbench.files.content import Content, describe_start

HDF5 = b"\x89HDF"
V7_3 = b"MATLAB 7.3"
HEADER = 128  # bytes
ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}  # byte order by the end of the header

INT8, INT32, UINT32, MATRIX, COMPRESSED, UTF8 = 1, 5, 6, 14, 15, 16
STORED = {
    INT8: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    INT32: "i4",
    UINT32: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
STRUCTURE = 2
NUMERIC = {
    6: "f8",
    7: "f4",
    8: "i1",
    9: "u1",
    10: "i2",
    11: "u2",
    12: "i4",
    13: "u4",
    14: "i8",
    15: "u8",
}
OTHERS = {1: "cells", 3: "an object", 4: "text", 5: "a sparse matrix", 16: "a function"}
COMPLEX = 0x800
MAX_AXES = 8
MAX_ELEMENTS = 100  # in sequence: variables of a file, or elements of a variable
# Of a file, unpacked, and of the numbers that are returned: affNIST's 320,000 images have 0.6 GB.
MAX_BYTES = 1 << 30
CHUNK = 1 << 16  # bytes that are decompressed at a time: to at most 64 MiB

Fields = dict[str, NDArray[Any]]
Element = tuple[int, memoryview]


def read_matlab(
    content: Content, *names: str, limit: int = MAX_BYTES
) -> dict[str, NDArray[Any] | Fields]:
    """Read some variables of a file; others are skipped.

    Args:
        content: The file.
        names: Names of the variables.
        limit: The most bytes that the file may unpack to, and that the numbers may take.

    Returns:
        By name, a matrix as an array with the type of its class, a 1 x 1 structure as its fields.

    Raises:
        UserError: The file is damaged or of another version, unpacks to more, or a variable is
            missing or not numeric.
    """
    data = content.data
    if data.startswith((HDF5, V7_3)):
        raise content.damaged("a MATLAB file of version 5", "one of version 7.3 (HDF5)")
    if not data.startswith(b"MATLAB 5.0"):
        raise content.damaged("a MATLAB file of version 5", describe_start(data))
    order = ORDERS.get(bytes(data[HEADER - 4 : HEADER]))
    if order is None:
        raise content.damaged("a complete MATLAB file", "one without the end of its header")
    reader = _Reader(content, order, limit)
    variables = {}
    for element in reader.elements(memoryview(data)[HEADER:]):
        variable = reader.variable(element)
        if variable.name in names:
            variables[variable.name] = variable
    for name in names:
        if name not in variables:
            raise content.damaged(f"the variable {name}", "none of that name")
    return {name: reader.value(variables[name], name) for name in names}


class _Variable(NamedTuple):
    """Variable whose numbers or fields are not parsed yet."""

    flags: int
    shape: tuple[int, ...]
    name: str
    rest: list[Element]

    @property
    def kind(self) -> int:
        return self.flags & 0xFF


@dataclass
class _Reader:
    """Reader of the elements of a file with a given byte order.

    Attributes:
        content: The file.
        order: Its byte order.
        limit: The most bytes that its variables may unpack to, and that their numbers may take.
        unpacked: Bytes that were unpacked so far.
        numbers: Bytes that the numbers returned so far take.
    """

    content: Content
    order: str
    limit: int
    unpacked: int = 0
    numbers: int = 0

    def elements(self, data: memoryview) -> Iterator[Element]:
        """Yield the type and the data of each element of a sequence."""
        at = count = 0
        while at < len(data):
            count += 1
            if count > MAX_ELEMENTS:
                raise self._damaged(f"more than {MAX_ELEMENTS} elements")
            if len(data) - at < 8:
                raise self._damaged(f"{len(data) - at} bytes in place of an element")
            kind, size = struct.unpack_from(f"{self.order}II", data, at)
            first, available = at + 8, len(data) - at - 8
            if kind >> 16:  # a small element
                kind, size, first, available = kind & 0xFFFF, kind >> 16, at + 4, 4
            if size > available:
                raise self._damaged(f"an element of {size} bytes with {available} available")
            yield kind, data[first : first + size]
            at = first + size
            at += 0 if kind == COMPRESSED else -at % 8

    def variable(self, element: Element) -> _Variable:
        """Return the variable in an element, compressed or not."""
        kind, data = element
        if kind == COMPRESSED:
            elements = list(self.elements(self._decompress(data)))
            if len(elements) != 1:
                raise self._damaged(f"{len(elements)} elements compressed as one")
            ((kind, data),) = elements
        if kind != MATRIX:
            raise self._damaged(f"an element of type {kind} in place of a variable")
        parts = list(self.elements(data))
        if [kind for kind, _ in parts[:2]] != [UINT32, INT32] or len(parts) < 3:
            raise self._damaged("a variable without class, dimensions and name")
        (_, flags), (_, sizes), (_, name), *rest = parts
        if len(flags) != 8 or not 8 <= len(sizes) <= 4 * MAX_AXES or len(sizes) % 4:
            raise self._damaged("a variable without class and dimensions")
        (bits,) = struct.unpack_from(f"{self.order}I", flags)
        shape = struct.unpack(f"{self.order}{len(sizes) // 4}i", sizes)
        return _Variable(bits, shape, bytes(name).decode("latin-1"), rest)

    def value(self, variable: _Variable, name: str) -> NDArray[Any] | Fields:
        """Return the numbers of a variable; ``name`` is for messages."""
        if variable.kind != STRUCTURE:
            return self._numbers(variable, name)
        if variable.shape != (1, 1):
            shape = " x ".join(map(str, variable.shape))
            raise self.content.damaged(f"one structure in {name}", shape)
        return {
            field: self._numbers(self.variable(element), field)
            for field, element in self._structure_fields(variable, name)
        }

    def _structure_fields(self, variable: _Variable, name: str) -> Iterator[tuple[str, Element]]:
        (length, names), elements = variable.rest[:2], variable.rest[2:]
        width = struct.unpack(f"{self.order}i", length[1])[0] if len(length[1]) == 4 else 0
        text = bytes(names[1])
        if width < 1 or len(text) != width * len(elements):
            raise self._damaged(f"different numbers of fields and names in {name}")
        padded = [text[at : at + width] for at in range(0, len(text), width)]
        fields = [field.split(b"\0")[0].decode("ascii", "replace") for field in padded]
        if len(set(fields)) < len(fields) or not all(map(str.isidentifier, fields)):
            raise self._damaged(f"invalid names of fields in {name}")
        return zip(fields, elements, strict=True)

    def _numbers(self, variable: _Variable, name: str) -> NDArray[Any]:
        kind, shape = variable.kind, variable.shape
        if kind not in NUMERIC or variable.flags & COMPLEX:
            other = "complex numbers" if kind in NUMERIC else OTHERS.get(kind, "something else")
            raise self.content.damaged(f"numbers in {name}", other)
        if min(shape) < 1:
            raise self.content.damaged(f"numbers in {name}", f"none, {shape}")
        if len(variable.rest) != 1 or variable.rest[0][0] not in STORED:
            raise self._damaged(f"no numbers of a known type in {name}")
        ((stored_type, data),) = variable.rest
        # MATLAB stores integers of any class in as few bytes as they need.
        stored, result = np.dtype(self.order + STORED[stored_type]), np.dtype(NUMERIC[kind])
        if not np.can_cast(stored, result, "safe"):
            raise self._damaged(f"{name} of class {result} stored as {stored}")
        if len(data) != stored.itemsize * math.prod(shape):
            sizes = " x ".join(map(str, shape))
            raise self._damaged(f"{len(data)} bytes for {sizes} numbers in {name}")
        self.numbers += result.itemsize * math.prod(shape)
        if self.numbers > self.limit:
            raise self.content.damaged(f"numbers of at most {self.limit} bytes", "more")
        return np.frombuffer(data, stored).reshape(shape, order="F").astype(result, copy=False)

    def _decompress(self, data: memoryview) -> memoryview:
        decompressor, result = zlib.decompressobj(), bytearray()
        available = self.limit - self.unpacked
        try:
            for at in range(0, len(data), CHUNK):
                result += decompressor.decompress(data[at : at + CHUNK])
                if len(result) > available:
                    raise self.content.damaged(f"at most {self.limit} bytes unpacked", "more")
        except zlib.error as error:
            raise self._damaged(str(error)) from None
        if not decompressor.eof:
            raise self._damaged("a truncated compressed variable")
        self.unpacked += len(result)
        return memoryview(result)

    def _damaged(self, problem: str) -> Exception:
        return self.content.damaged("a complete MATLAB file", f"an unreadable one ({problem})")
