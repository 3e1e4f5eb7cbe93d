"""Contents of files and members of archives: checksums and errors."""

import gzip

import numpy as np
import pytest

from capsbench.errors import UserError
from capsbench.files.archives import tar_members, zip_members
from capsbench.files.content import Content, decompress, open_checked, read
from tests.formats import made

DATA = bytes(np.random.default_rng(0).integers(0, 9, 100_000, dtype=np.uint8))
SHA256 = Content("", bytearray(DATA)).sha256


def test_a_file_is_read_after_its_checksum_is_checked(tmp_path):
    path = tmp_path / "one"
    path.write_bytes(DATA)
    assert read(path, SHA256).data == DATA
    with open_checked(path, SHA256) as stream:
        assert stream.read() == DATA
    path.write_bytes(DATA[:-1])
    message = f"one is damaged.* SHA-256 {SHA256}"
    with pytest.raises(UserError, match=message):
        read(path, SHA256)
    with pytest.raises(UserError, match=message), open_checked(path, SHA256):
        pass
    assert read(path).data == DATA[:-1]


def test_an_unreadable_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"one cannot be read"):
        read(tmp_path / "one")
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path)


def content(name, data):
    return Content(name, bytearray(data))


def test_gzip_files_are_decompressed_and_others_unchanged():
    assert decompress(content("a.gz", gzip.compress(DATA))).data == DATA
    assert decompress(content("a", gzip.compress(DATA))).data == DATA
    assert decompress(content("a", DATA)).data == DATA


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(gzip.compress(DATA)[:-20], "cannot be decompressed", id="cut short"),
        pytest.param(gzip.compress(DATA)[:5], "cannot be decompressed", id="cut in the header"),
        pytest.param(gzip.compress(DATA)[:-8] + b"12345678", "CRC check failed", id="changed"),
        pytest.param(b"<html><body>not here</body>", "a web page", id="a web page"),
        pytest.param(b"PK\x03\x04", r"b'PK\\x03\\x04'", id="a zip file"),
        pytest.param(b"", "an empty file", id="empty"),
    ],
)
def test_an_invalid_gzip_file_is_refused(data, message):
    with pytest.raises(UserError, match=rf"a\.gz is damaged.*{message}"):
        decompress(content("a.gz", data))


def test_members_of_a_zip_file_are_in_numerical_order(tmp_path):
    path = tmp_path / "batches.zip"
    members = {"batches/10.mat": b"ten", "batches/2.mat": b"two", "__MACOSX/batches/._2.mat": b"x"}
    path.write_bytes(made.zipped(members | {"batches/read.me": b"no"}))
    checksum = read(path).sha256
    contents = [(member.name, bytes(member.data)) for member in zip_members(path, ".mat", checksum)]
    assert contents == [(f"{path}:batches/2.mat", b"two"), (f"{path}:batches/10.mat", b"ten")]


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


ZIP = made.zipped({"1.mat": DATA})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(ZIP[:-30], "zip file.*truncated", id="cut short"),
        pytest.param(flipped(ZIP, 500), "zip file.*truncated", id="changed"),
        pytest.param(b"<html>", "zip file.*web page", id="a web page"),
        pytest.param(b"", "an empty file", id="empty"),
        pytest.param(made.zipped({"a.txt": b""}), r"\*\.mat.*none", id="others"),
        pytest.param(made.zipped({"../1.mat": b""}), "inside the archive", id="a parent folder"),
        pytest.param(made.zipped({"/1.mat": b""}), "inside the archive", id="from the root"),
    ],
)
def test_an_invalid_zip_file_is_refused(tmp_path, data, message):
    path = tmp_path / "batches.zip"
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"batches\.zip is damaged.*{message}"):
        list(zip_members(path, ".mat"))


TAR = made.tar({"a/1.bin": DATA, "a/2.bin": b"two", "b/3.bin": b"three"})


def test_only_requested_members_of_a_tar_file_are_read(tmp_path):
    path = tmp_path / "set.tar.gz"
    path.write_bytes(TAR)
    contents = {member.name: member.data for member in tar_members(path, ["b/3.bin", "a/1.bin"])}
    assert contents == {f"{path}:a/1.bin": DATA, f"{path}:b/3.bin": b"three"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(TAR[:-200], "tar file.*truncated", id="cut short"),
        pytest.param(flipped(TAR, 9000), "tar file.*truncated", id="changed"),
        pytest.param(b"<html>", "tar file.*web page", id="a web page"),
        pytest.param(b"", "tar file.*empty file", id="empty"),
        pytest.param(made.packed(b"no tar"), "tar file.*truncated", id="no tar"),
        pytest.param(made.tar({"c": b""}), "a/1.bin, b/3.bin.* c", id="others"),
    ],
)
def test_an_invalid_tar_file_is_refused(tmp_path, data, message):
    path = tmp_path / "set.tar.gz"
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"set\.tar\.gz is damaged.*{message}"):
        list(tar_members(path, ["a/1.bin", "b/3.bin"]))
