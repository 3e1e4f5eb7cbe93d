"""Cached arrays: written atomically, checked when read, never unpickled."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.format import write_array_header_1_0

from capsbench.errors import UserError
from capsbench.files.arrays import load_arrays, parse_npz, save_arrays
from capsbench.files.content import Content
from tests.formats import made

ARRAYS = {
    "images": np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4),
    "azimuth": np.array([0.0, 20.0]),
    "names": np.array(["car", "truck"]),
}


def test_arrays_are_read_back(tmp_path):
    path = tmp_path / "cache" / "set.npz"
    assert load_arrays(path) is None
    save_arrays(path, ARRAYS)
    loaded = load_arrays(path)
    assert loaded is not None
    assert list(loaded) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)
    assert sorted(file.name for file in path.parent.iterdir()) == ["set.npz", "set.npz.sha256"]
    with np.load(path, allow_pickle=False) as archive:  # an ordinary file
        np.testing.assert_array_equal(archive["images"], ARRAYS["images"])


def test_equal_arrays_give_identical_files(tmp_path):
    save_arrays(tmp_path / "one.npz", ARRAYS)
    save_arrays(tmp_path / "two.npz", {name: array.copy() for name, array in ARRAYS.items()})
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_a_changed_file_is_refused(tmp_path):
    path = tmp_path / "set.npz"
    save_arrays(path, ARRAYS)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"set\.npz is damaged.* SHA-256"):
        load_arrays(path)


def test_a_file_without_checksum_is_not_loaded(tmp_path):
    path = tmp_path / "set.npz"
    save_arrays(path, ARRAYS)
    (tmp_path / "set.npz.sha256").unlink()
    assert load_arrays(path) is None


@pytest.mark.parametrize("text", [b"", b"\n"])
def test_a_file_with_an_empty_checksum_is_not_loaded(tmp_path, text):
    path = tmp_path / "set.npz"
    save_arrays(path, ARRAYS)
    (tmp_path / "set.npz.sha256").write_bytes(text)
    assert load_arrays(path) is None


def test_a_checksum_removed_meanwhile_is_tolerated(tmp_path, monkeypatch):
    """Another process that writes the file again removes the checksum first."""
    path = tmp_path / "set.npz"
    save_arrays(path, ARRAYS)
    is_file = Path.is_file

    def remove_checksum(self):
        exists = is_file(self)
        (tmp_path / "set.npz.sha256").unlink(missing_ok=True)
        return exists

    monkeypatch.setattr(Path, "is_file", remove_checksum)
    loaded = load_arrays(path)
    assert loaded is None or list(loaded) == list(ARRAYS)
    assert load_arrays(path) is None


def test_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        save_arrays(tmp_path / "set.npz", {"a": np.array([{}], dtype=object)})
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_path_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written"):
        save_arrays(tmp_path / "file" / "set.npz", ARRAYS)


def header(shape, dtype="|u1"):
    stream = io.BytesIO()
    fields = {"descr": dtype, "fortran_order": False, "shape": shape}
    write_array_header_1_0(stream, fields)
    return stream.getvalue()


CLAIMS = {
    "more": (header((1 << 40, 32)) + b"few", r"35184372088832 bytes.*'a', found 3"),
    "less": (header((2,)) + b"more", "2 bytes.*'a', found 4"),
    "negative": (header((-1, 4)), "-4 bytes"),
    "text": (header((1,), f"|S{1 << 30}"), "found 0"),
    "text of no length": (header((1 << 32,), "<U0"), "elements of at least a byte"),
    "objects": (header((1 << 40,), "|O"), "plain arrays"),
    "nested": (b"\x93NUMPY\x01\0" + struct.pack("<H", 9000) + b"(" * 9000, "plain arrays"),
    "another version": (b"\x93NUMPY\x03\0", "another version"),
    "no array": (b"text", "only arrays"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_an_array_takes_no_more_memory_than_its_member_has(claim, peak):
    member, message = CLAIMS[claim]
    content = Content("x.npz", bytearray(made.zipped({"a.npy": member})))
    with pytest.raises(UserError, match=rf"x\.npz is damaged.*{message}") as raised:
        parse_npz(content)
    assert peak() < 16 << 20
    assert len(str(raised.value)) < 400


def test_what_an_npz_file_unpacks_to_is_limited():
    content = Content("x.npz", bytearray(made.npz(a=np.zeros(1 << 24, "u1"), b=np.zeros(2))))
    limit = 1 << 20
    assert list(parse_npz(content, ["b"], limit=limit)) == ["b"]  # the others are not unpacked
    with pytest.raises(UserError, match="at most 1048576 bytes unpacked"):
        parse_npz(content, limit=limit)
