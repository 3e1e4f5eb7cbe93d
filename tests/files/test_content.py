"""Bytes in memory and members of archives: checked first, named when they are wrong."""

import gzip

import numpy as np
import pytest

from capsbench.errors import UserError
from capsbench.files.archives import tar_members, zip_members
from capsbench.files.content import Content, opened, read, unpacked
from tests.formats import made

DATA = bytes(np.random.default_rng(0).integers(0, 9, 100_000, dtype=np.uint8))
SUM = Content("", bytearray(DATA)).sha256


def test_a_file_is_read_after_its_sum_was_checked(tmp_path):
    path = tmp_path / "one"
    path.write_bytes(DATA)
    assert read(path, SUM).data == DATA
    with opened(path, SUM) as stream:
        assert stream.read() == DATA
    path.write_bytes(DATA[:-1])
    message = f"one is damaged or another file: expected SHA-256 {SUM}, found [0-9a-f]+; replace it"
    with pytest.raises(UserError, match=message):
        read(path, SUM)
    with pytest.raises(UserError, match=message), opened(path, SUM):
        pass
    assert read(path).data == DATA[:-1]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"one cannot be read \(No such file"):
        read(tmp_path / "one")
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory"):
        read(tmp_path)


def content(name, data):
    return Content(name, bytearray(data))


def test_gzip_files_are_unpacked_and_plain_ones_left():
    assert unpacked(content("a.gz", gzip.compress(DATA))).data == DATA
    assert unpacked(content("a", gzip.compress(DATA))).data == DATA
    assert unpacked(content("a", DATA)).data == DATA


@pytest.mark.parametrize(
    ("data", "found"),
    [
        pytest.param(gzip.compress(DATA)[:-20], "one that cannot be unpacked", id="cut short"),
        pytest.param(
            gzip.compress(DATA)[:5], "one that cannot be unpacked", id="cut in the header"
        ),
        pytest.param(gzip.compress(DATA)[:-8] + b"12345678", "CRC check failed", id="changed"),
        pytest.param(b"<html><body>not here</body>", "a web page", id="a web page"),
        pytest.param(b"PK\x03\x04", r"b'PK\\x03\\x04'", id="a zip file"),
        pytest.param(b"", "an empty file", id="empty"),
    ],
)
def test_what_is_no_whole_gzip_file_is_named(data, found):
    with pytest.raises(UserError, match=rf"a\.gz is damaged or another file: expected a .*{found}"):
        unpacked(content("a.gz", data))


def test_members_of_a_zip_file_come_by_number(tmp_path):
    path = tmp_path / "batches.zip"
    members = {"batches/10.mat": b"ten", "batches/2.mat": b"two", "__MACOSX/batches/._2.mat": b"x"}
    path.write_bytes(made.zipped(members | {"batches/read.me": b"no"}))
    sum_ = read(path).sha256
    found = [(member.name, bytes(member.data)) for member in zip_members(path, ".mat", sum_)]
    assert found == [(f"{path}:batches/2.mat", b"two"), (f"{path}:batches/10.mat", b"ten")]


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


ZIP = made.zipped({"1.mat": DATA})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(ZIP[:-30], "expected a zip file, found one cut", id="cut short"),
        pytest.param(flipped(ZIP, 500), "expected a zip file, found one cut", id="changed"),
        pytest.param(b"<html>", "expected a zip file, found a web page", id="a web page"),
        pytest.param(b"", "found an empty file", id="empty"),
        pytest.param(
            made.zipped({"a.txt": b""}), r"members called \*\.mat, found none", id="others"
        ),
        pytest.param(made.zipped({"../1.mat": b""}), "inside its own folder", id="a way out"),
        pytest.param(made.zipped({"/1.mat": b""}), "inside its own folder", id="from the root"),
    ],
)
def test_a_wrong_zip_file_is_named(tmp_path, data, message):
    path = tmp_path / "batches.zip"
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"batches\.zip is damaged or another file: .*{message}"):
        list(zip_members(path, ".mat"))


TAR = made.tar({"a/1.bin": DATA, "a/2.bin": b"two", "b/3.bin": b"three"})


def test_only_wanted_members_of_a_tar_file_are_read(tmp_path):
    path = tmp_path / "set.tar.gz"
    path.write_bytes(TAR)
    found = {member.name: member.data for member in tar_members(path, ["b/3.bin", "a/1.bin"])}
    assert found == {f"{path}:a/1.bin": DATA, f"{path}:b/3.bin": b"three"}


@pytest.mark.parametrize(
    ("data", "found"),
    [
        pytest.param(TAR[:-200], "a tar file packed by gzip, found one", id="cut short"),
        pytest.param(flipped(TAR, 9000), "a tar file packed by gzip, found one", id="changed"),
        pytest.param(b"<html>", "a tar file packed by gzip, found a web page", id="a web page"),
        pytest.param(b"", "a tar file packed by gzip, found an empty file", id="empty"),
        pytest.param(made.packed(b"no tar"), "a tar file packed by gzip, found one", id="no tar"),
        pytest.param(made.tar({"c": b""}), "the members a/1.bin, b/3.bin, found c", id="others"),
    ],
)
def test_a_wrong_tar_file_is_named(tmp_path, data, found):
    path = tmp_path / "set.tar.gz"
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"set\.tar\.gz is damaged or another file: .*{found}"):
        list(tar_members(path, ["a/1.bin", "b/3.bin"]))
