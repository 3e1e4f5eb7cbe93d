"""Numbers from MATLAB files of version 5: matrices, and structures of matrices.

A header of 128 bytes, then elements: a type and a length, the data, and zeros up to the next eighth
byte; up to four bytes of data stand in the tag itself. A variable is an element of elements: its
class, its dimensions, its name, its numbers; often it is packed by zlib. Each length is held
against what is there before anything is read. Text, cells, objects, and sparse, complex and empty
matrices are refused.

Source: The MathWorks, MAT-File Format, "Level 5 MAT-File Format".
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsbench.files.content import Content, start

HDF5 = b"\x89HDF"
V7_3 = b"MATLAB 7.3"
HEADER = 128  # bytes
ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}  # the header's end tells the order of bytes

INT8, INT32, UINT32, MATRIX, PACKED, UTF8 = 1, 5, 6, 14, 15, 16
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
MOST_AXES = 8
MOST_ELEMENTS = 100  # beside each other: variables in a file, or parts of one
LARGEST = 1 << 31  # bytes of a variable: what the format allows
PIECE = 1 << 16  # bytes that are unpacked at once: to 64 MiB at the most

Fields = dict[str, NDArray[Any]]
Element = tuple[int, memoryview]


def read_matlab(content: Content, *names: str) -> dict[str, NDArray[Any] | Fields]:
    """Read some variables of a file; others are passed over.

    Args:
        content: The file.
        names: The variables.

    Returns:
        A matrix as an array with the type of its class; a structure of 1 x 1 as its fields.

    Raises:
        UserError: The file is damaged or of another version, or a variable is not there or
            anything but numbers.
    """
    data = content.data
    if data.startswith((HDF5, V7_3)):
        raise content.damaged("a MATLAB file of version 5", "one of version 7.3 (HDF5)")
    if not data.startswith(b"MATLAB 5.0"):
        raise content.damaged("a MATLAB file of version 5", start(data))
    order = ORDERS.get(bytes(data[HEADER - 4 : HEADER]))
    if order is None:
        raise content.damaged("a whole MATLAB file", "one without the end of its header")
    reader = _Reader(content, order)
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
    """A variable whose numbers, or fields, have not been looked at yet."""

    flags: int
    shape: tuple[int, ...]
    name: str
    rest: list[Element]

    @property
    def kind(self) -> int:
        return self.flags & 0xFF


class _Reader(NamedTuple):
    """What reads the elements of a file, whose numbers are in some order of bytes."""

    content: Content
    order: str

    def elements(self, data: memoryview) -> Iterator[Element]:
        """The types and the data of elements that lie one after the other."""
        at = found = 0
        while at < len(data):
            found += 1
            if found > MOST_ELEMENTS:
                raise self._damaged(f"more than {MOST_ELEMENTS} elements")
            if len(data) - at < 8:
                raise self._damaged(f"{len(data) - at} bytes where an element should be")
            kind, size = struct.unpack_from(f"{self.order}II", data, at)
            first, room = at + 8, len(data) - at - 8
            if kind >> 16:  # a small element
                kind, size, first, room = kind & 0xFFFF, kind >> 16, at + 4, 4
            if size > room:
                raise self._damaged(f"an element of {size} bytes where there are {room}")
            yield kind, data[first : first + size]
            at = first + size
            at += 0 if kind == PACKED else -at % 8

    def variable(self, element: Element) -> _Variable:
        """The variable that is in an element, packed or not."""
        kind, data = element
        if kind == PACKED:
            inside = list(self.elements(self._unpacked(data)))
            if len(inside) != 1:
                raise self._damaged(f"{len(inside)} elements packed as one")
            ((kind, data),) = inside
        if kind != MATRIX:
            raise self._damaged(f"an element of type {kind} in place of a variable")
        parts = list(self.elements(data))
        if [kind for kind, _ in parts[:2]] != [UINT32, INT32] or len(parts) < 3:
            raise self._damaged("a variable without class, dimensions and name")
        (_, flags), (_, sizes), (_, name), *rest = parts
        if len(flags) != 8 or not 8 <= len(sizes) <= 4 * MOST_AXES or len(sizes) % 4:
            raise self._damaged("a variable without class and dimensions")
        (bits,) = struct.unpack_from(f"{self.order}I", flags)
        shape = struct.unpack(f"{self.order}{len(sizes) // 4}i", sizes)
        return _Variable(bits, shape, bytes(name).decode("latin-1"), rest)

    def value(self, variable: _Variable, name: str) -> NDArray[Any] | Fields:
        """The numbers of a variable that messages call by a name."""
        if variable.kind != STRUCTURE:
            return self._numbers(variable, name)
        if variable.shape != (1, 1):
            found = " x ".join(map(str, variable.shape))
            raise self.content.damaged(f"one structure in {name}", found)
        return {
            field: self._numbers(self.variable(element), field)
            for field, element in self._named(variable, name)
        }

    def _named(self, variable: _Variable, name: str) -> Iterator[tuple[str, Element]]:
        (length, names), elements = variable.rest[:2], variable.rest[2:]
        wide = struct.unpack(f"{self.order}i", length[1])[0] if len(length[1]) == 4 else 0
        text = bytes(names[1])
        if wide < 1 or len(text) != wide * len(elements):
            raise self._damaged(f"other fields than names in {name}")
        cut = [text[at : at + wide].split(b"\0")[0] for at in range(0, len(text), wide)]
        fields = [field.decode("ascii", "replace") for field in cut]
        if len(set(fields)) < len(fields) or not all(map(str.isidentifier, fields)):
            raise self._damaged(f"names of fields in {name} that can be none")
        return zip(fields, elements, strict=True)

    def _numbers(self, variable: _Variable, name: str) -> NDArray[Any]:
        kind, shape = variable.kind, variable.shape
        if kind not in NUMERIC or variable.flags & COMPLEX:
            found = "complex numbers" if kind in NUMERIC else OTHERS.get(kind, "something else")
            raise self.content.damaged(f"numbers in {name}", found)
        if min(shape) < 1:
            raise self.content.damaged(f"numbers in {name}", f"none, {shape}")
        if len(variable.rest) != 1 or variable.rest[0][0] not in STORED:
            raise self._damaged(f"no numbers of a known type in {name}")
        ((stored, data),) = variable.rest
        # MATLAB stores whole numbers in as few bytes as they need, whatever their class.
        dtype, own = np.dtype(self.order + STORED[stored]), np.dtype(NUMERIC[kind])
        if not np.can_cast(dtype, own, "safe"):
            raise self._damaged(f"{name} of class {own} stored as {dtype}")
        if len(data) != dtype.itemsize * math.prod(shape):
            sizes = " x ".join(map(str, shape))
            raise self._damaged(f"{len(data)} bytes for {sizes} numbers in {name}")
        return np.frombuffer(data, dtype).reshape(shape, order="F").astype(own, copy=False)

    def _unpacked(self, data: memoryview) -> memoryview:
        unpacker, result = zlib.decompressobj(), bytearray()
        try:
            for at in range(0, len(data), PIECE):
                result += unpacker.decompress(data[at : at + PIECE])
                if len(result) > LARGEST:
                    raise self._damaged(f"a variable of more than {LARGEST} bytes")
        except zlib.error as error:
            raise self._damaged(str(error)) from None
        if not unpacker.eof:
            raise self._damaged("a variable that is packed and cut short")
        return memoryview(result)

    def _damaged(self, found: str) -> Exception:
        return self.content.damaged("a whole MATLAB file", f"one that cannot be read ({found})")
