"""IDX and NORB's binary matrices: every type, exact lengths, refused headers."""

import struct
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from capsbench.errors import UserError
from capsbench.files.content import Content
from capsbench.formats.idx import read_idx
from capsbench.formats.norb import read_norb
from tests.formats import made

FORMATS = {"idx": (made.idx, read_idx), "norb": (made.norb, read_norb)}


def content(data):
    return Content("file", bytearray(data))


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=40, deadline=None)
@given(
    array=arrays(
        st.sampled_from([np.dtype(kind) for kind in ("u1", "i2", "i4", "f4", "f8")]),
        array_shapes(min_dims=1, max_dims=5, max_side=4),
    )
)
def test_arrays_are_read_back(format_, array):
    write, read = FORMATS[format_]
    result = read(content(write(array)))
    assert result.dtype == array.dtype
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, array)
    assert result.flags.writeable


def test_the_headers_are_the_published_ones():
    image = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    by_hand = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(read_idx(content(by_hand)), image)
    by_hand = bytes.fromhex("554c3d1e 02000000 02000000 03000000 01000000") + bytes(range(1, 7))
    np.testing.assert_array_equal(read_norb(content(by_hand)), image)
    # The category file of smallNORB: one axis, and still three lengths.
    by_hand = bytes.fromhex("544c3d1e 01000000 02000000 01000000 01000000 04000000 03000000")
    np.testing.assert_array_equal(read_norb(content(by_hand)), [4, 3])


def test_unused_lengths_are_ignored():
    by_hand = struct.pack("<II3iii", 0x1E3D4C54, 1, 2, 7, 0, 4, 3)
    np.testing.assert_array_equal(read_norb(content(by_hand)), [4, 3])


def test_images_share_memory_with_the_content_and_tensors():
    data = content(made.idx(np.zeros((2, 3), np.uint8)))
    tensor = torch.from_numpy(read_idx(data))
    tensor[0, 0] = 7
    assert data.data[12] == 7


IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
GOOD = {"idx": made.idx(IMAGES), "norb": made.norb(IMAGES)}
WRONG = {
    "idx": {
        "truncated": (GOOD["idx"][:-1], "2 x 3 x 4.* 39"),
        "too long": (GOOD["idx"] + b"x", "2 x 3 x 4.* 41"),
        "other lengths": (GOOD["idx"][:7] + b"\3" + GOOD["idx"][8:], "52 bytes.*3 x 3 x 4"),
        "unknown type": (b"\0\0\x0a\1\0\0\0\1x", "IDX file"),
        "another format": (GOOD["norb"], "IDX file.* b'UL"),
        "a web page": (b"<html>", "IDX file.*web page"),
        "half a header": (GOOD["idx"][:9], "header of 16 bytes.*3 axes"),
        "empty": (b"", "an empty file"),
    },
    "norb": {
        "truncated": (GOOD["norb"][:-1], "2 x 3 x 4.* 43"),
        "too long": (GOOD["norb"] + b"x", "2 x 3 x 4.* 45"),
        "packed": (b"\x52" + GOOD["norb"][1:], "plain numbers.*packed"),
        "wrong magic": (b"\x57" + GOOD["norb"][1:], "magic number.*0x1e3d4c55"),
        "another format": (GOOD["idx"], "NORB's magic number"),
        "a web page": (b"<html>" + b" " * 20, "a web page"),
        "no axes": (GOOD["norb"][:4] + b"\0" + GOOD["norb"][5:], "axes.* 0 axes"),
        "many axes": (GOOD["norb"][:4] + b"\xff" + GOOD["norb"][5:], "axes.* 255 axes"),
        "negative lengths": (
            struct.pack("<II3i", 0x1E3D4C55, 3, -1, -1, 24) + bytes(24),
            "-1 x -1 x 24",
        ),
        "empty": (b"", "header.*20 bytes.* 0"),
    },
}
CASES = [
    pytest.param(format_, *case, id=f"{format_} {name}")
    for format_, cases in WRONG.items()
    for name, case in cases.items()
]


@pytest.mark.parametrize(("format_", "data", "message"), CASES)
def test_wrong_files_are_refused(format_, data, message):
    with pytest.raises(UserError, match=rf"^file is damaged.*{message}"):
        FORMATS[format_][1](content(data))


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 19), value=st.integers(0, 255), cut=st.integers(0, 44))
def test_any_damaged_header_gives_an_array_or_a_user_error(format_, at, value, cut):
    data = bytearray(GOOD[format_])
    data[at] = value
    with suppress(UserError):  # any other error is a bug
        FORMATS[format_][1](content(data[:cut]))
