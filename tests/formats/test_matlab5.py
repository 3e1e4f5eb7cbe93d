"""MATLAB files of version 5 from another writer; damage is an error and never a crash."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy
from scipy.io import savemat
from scipy.sparse import csc_matrix

from capsbench.errors import UserError
from capsbench.files.content import Content
from capsbench.formats.matlab import read_affnist, read_svhn
from capsbench.formats.matlab5 import read_matlab

TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]
ARRAYS = of_numpy.arrays(
    st.sampled_from([np.dtype(name) for name in TYPES]),
    of_numpy.array_shapes(min_dims=2, max_dims=5, max_side=6),
)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,30}", fullmatch=True)


def content(data):
    return Content("file.mat", bytearray(data))


def written(compressed=True, **variables):
    stream = io.BytesIO()
    savemat(stream, variables, do_compression=compressed)  # type: ignore[arg-type]
    return stream.getvalue()


def assert_same(actual, expected):
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


@given(NAMES, ARRAYS, ARRAYS, st.booleans())
@settings(max_examples=60, deadline=None)
def test_matrices_are_read_back(name, array, other, compressed):
    data = written(compressed, **{f"{name[:20]}_2": other, name: array})
    result = read_matlab(content(data), name)
    assert list(result) == [name]
    assert_same(result[name], array)


@given(st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=4), st.booleans())
@settings(max_examples=40, deadline=None)
def test_structures_are_read_back(fields, compressed):
    result = read_matlab(content(written(compressed, text="skipped", s=fields)), "s")["s"]
    assert isinstance(result, dict) and list(result) == list(fields)
    for name, array in fields.items():
        assert_same(result[name], array)


def element(kind, data, order="<"):
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def variable(stored, data, order="<", kind=6, shape=(1, 3), flags=0):
    """Write a file with one matrix byte by byte."""
    parts = element(6, struct.pack(f"{order}II", kind | flags, 0), order)
    parts += element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    parts += struct.pack(f"{order}I", 1 << 16 | 1) + b"a\0\0\0"  # the name, a small element
    parts += element(stored, data, order)
    end = struct.pack(f"{order}H", 0x100) + (b"IM" if order == "<" else b"MI")
    return b"MATLAB 5.0".ljust(124) + end + element(14, parts, order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_integers_in_few_bytes_and_either_byte_order(order):
    data = variable(4, struct.pack(f"{order}3H", 1, 2, 770), order)
    assert_same(read_matlab(content(data), "a")["a"], np.array([[1.0, 2.0, 770.0]]))


DOUBLES = struct.pack("<3d", 1, 2, 3)
REFUSED = {
    "sparse": (written(a=csc_matrix(np.eye(3))), "numbers in a.*sparse"),
    "complex": (written(a=np.eye(2) * 1j), "numbers in a.*complex"),
    "empty": (written(a=np.zeros((0, 3))), r"numbers in a.*\(0, 3\)"),
    "text": (written(a="word"), "numbers in a.*text"),
    "structures": (
        written(a=np.zeros((1, 2), [("b", "f8")])),
        "one structure in a.*1 x 2",
    ),
    "a structure within": (written(a={"b": {"c": 1}}), "numbers in b"),
    "negative sizes": (variable(9, DOUBLES, shape=(-1, -3)), "numbers in a.*none"),
    "larger sizes": (
        variable(9, DOUBLES, shape=(1 << 30, 1 << 30)),
        "24 bytes.*1073741824 x 1073741824",
    ),
    "many axes": (variable(9, DOUBLES, shape=(1,) * 9 + (3,)), "without class and dimensions"),
    "no axes": (variable(9, DOUBLES, shape=(3,)), "without class and dimensions"),
    "unknown type": (variable(11, DOUBLES), "known type"),
    "another type": (variable(9, DOUBLES, kind=8), "class int8.*float64"),
    "beyond the end": (variable(9, DOUBLES)[:-8], "element of .* bytes"),
    "no variable": (variable(9, DOUBLES) + element(9, DOUBLES), "an element of type 9"),
    "many elements": (
        variable(9, DOUBLES) + 100 * variable(9, DOUBLES)[128:],
        "more than 100 elements",
    ),
    "no byte order": (variable(9, DOUBLES)[:126] + b"XX", "end of its header"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_non_numeric_variables_are_refused(name):
    data, message = REFUSED[name]
    with pytest.raises(UserError, match=rf"^file\.mat is damaged.*{message}"):
        read_matlab(content(data), "a")


@pytest.mark.parametrize("others", [1, 3])
def test_what_all_variables_unpack_to_is_limited(others):
    sizes = {f"b{number}": (1 << 21) // others for number in range(others)}
    data = written(
        a=np.ones(3), **{name: np.zeros((size, 1), "u1") for name, size in sizes.items()}
    )
    assert len(data) < 10_000
    assert len(read_matlab(content(data), "a", limit=1 << 22)) == 1
    with pytest.raises(UserError, match="at most 1048576 bytes unpacked"):
        read_matlab(content(data), "a", limit=1 << 20)


def test_what_the_numbers_of_a_file_take_is_limited():
    # MATLAB stores whole numbers of class double as bytes.
    data = written(compressed=False, a=np.zeros((1, 1 << 16), "u1"))
    data = data.replace(struct.pack("<3i", 6, 8, 9), struct.pack("<3i", 6, 8, 6), 1)
    assert np.asarray(read_matlab(content(data), "a", limit=1 << 19)["a"]).nbytes == 1 << 19
    with pytest.raises(UserError, match="numbers of at most 524287 bytes"):
        read_matlab(content(data), "a", limit=(1 << 19) - 1)


GREY = np.random.default_rng(3).integers(0, 256, (4, 40, 40), dtype=np.uint8)
FIELDS = {
    "image": GREY.reshape(4, 1600).T,
    "label_int": np.arange(4, dtype=np.uint8)[None],
    "human_readable_transform": np.arange(24.0).reshape(6, 4),
}
COLOUR = np.random.default_rng(4).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)


def damages(data, count):
    """Yield the data truncated or with some bits flipped, mostly near its ends."""
    numbers = np.random.default_rng(5)
    for number in range(count):
        changed = bytearray(data)
        if number % 4 == 0:
            del changed[numbers.integers(len(data)) :]
        else:
            near = min((200, 600, len(data))[number % 4 - 1], len(data))
            for place in numbers.integers(near, size=numbers.integers(1, 5)):
                changed[-1 - place if number % 2 else place] ^= 1 << numbers.integers(8)
        yield changed


@pytest.mark.parametrize("compressed", [True, False])
def test_damaged_files_of_affnist_are_refused_or_read_correctly(compressed):
    data = written(compressed, affNISTdata=FIELDS)
    refused = 0
    for changed in damages(data, 600):
        try:
            result = read_affnist(content(changed))
        except UserError:
            refused += 1
            continue
        assert result["image"].shape == (4, 40, 40) and result["label_int"].shape == (4,)
        if compressed:  # zlib has a checksum of its own
            np.testing.assert_array_equal(result["image"], GREY)
            np.testing.assert_array_equal(result["label_int"], range(4))
    assert refused > 200


@pytest.mark.parametrize("compressed", [True, False])
def test_damaged_files_of_svhn_are_refused_or_read_correctly(compressed):
    labels = np.arange(1, 5, dtype=np.uint8)[:, None]
    data = written(compressed, X=COLOUR.transpose(2, 3, 1, 0), y=labels)
    for changed in damages(data, 600):
        try:
            images, digits = read_svhn(content(changed))
        except UserError:
            continue
        assert images.shape == COLOUR.shape and digits.shape == (4,)
        if compressed:
            np.testing.assert_array_equal(images, COLOUR)


# A compressed structure like affNIST's, with a wrong length and a wrong checksum. scipy's reader
# follows the length out of its memory, and the process crashes.
CRASHING = (
    b"MATLAB 5.0".ljust(124)
    + b"\x00\x01IM"
    + bytes.fromhex(
        "0f0000008d000000789cedd93d0ac2401086e12f318a3f90ca26b7f008b63636da8711130944ab1c"
        "344772dc6c200a5e20bc0f7c2cc32c3bdb4f2ea92fa4959f6b4faac132d6c9243b8fd5f5f974b9de"
        "adb3782fd336f6f79ee6698f2a745abb556dd9bcba50e59ec364cee667ced11b597c47b03f0a0100"
        "00000000000000cc4ed848e8ffdee4b32ff9de9b7895a48b6781820c52"
    )
)


def test_damage_that_crashes_another_reader_is_refused():
    with pytest.raises(UserError, match="a complete MATLAB file"):
        read_affnist(content(CRASHING))
