"""Contents of files and members of archives: checksums and errors."""

import errno
import gzip
import hashlib
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from capsbench.errors import UserError
from capsbench.files.archives import tar_members, zip_members
from capsbench.files.content import Content, decompress, open_checked, read
from tests.datamodules import roots
from tests.formats import made

DATA = bytes(np.random.default_rng(0).integers(0, 9, 100_000, dtype=np.uint8))
SHA256 = Content("", bytearray(DATA)).sha256
LIMIT = 1 << 20


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


def test_checksums_are_compared_without_regard_to_case_and_by_their_kind(tmp_path):
    path = tmp_path / "one"
    path.write_bytes(DATA)
    md5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    assert read(path, SHA256.upper()).data == read(path, md5).data == DATA
    with open_checked(path, SHA256.upper()) as stream:
        assert stream.read() == DATA
    path.write_bytes(b"")
    with pytest.raises(UserError, match=f"MD5 {md5}, found d41d8"):
        read(path, md5)
    with pytest.raises(UserError, match=f"SHA-256 {SHA256}, found e3b0c"):
        read(path, SHA256)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path):
    with (path := tmp_path / "one").open("wb") as stream:
        stream.truncate(1 << 40)  # sparse
    with pytest.raises(UserError, match=f"one is damaged.* at most {1 << 32} bytes"):
        read(path)


def test_an_unreadable_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"one cannot be read"):
        read(tmp_path / "one")
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path)


def content(name, data):
    return Content(name, bytearray(data))


def test_gzip_files_are_decompressed_and_others_unchanged():
    assert decompress(content("a.gz", gzip.compress(DATA)), LIMIT).data == DATA
    assert decompress(content("a", gzip.compress(DATA)), LIMIT).data == DATA
    assert decompress(content("a", DATA), LIMIT).data == DATA


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
        decompress(content("a.gz", data), LIMIT)


ZEROS = bytes(64 << 20)  # packed, 64 KiB


def test_a_gzip_file_is_unpacked_up_to_its_limit(peak):
    bomb = content("a.gz", gzip.compress(ZEROS, compresslevel=1))
    peak()
    with pytest.raises(UserError, match=rf"a\.gz is damaged.*at most {LIMIT} bytes unpacked"):
        decompress(bomb, LIMIT)
    assert peak() < 16 << 20


def states(data, size, method=None):
    """Return a zip file whose only member states another size, or another method."""
    changed, at = bytearray(data), data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", changed, at + 24, size)
    if method is not None:
        struct.pack_into("<H", changed, at + 10, method)
    return bytes(changed)


BOMB = made.zipped({"1.mat": ZEROS})
BOMBS = {
    "large": (BOMB, f"at most {LIMIT} bytes unpacked, found {len(ZEROS)}"),
    "states less": (states(BOMB, 1000), "truncated or damaged"),
    "many": (made.zipped({f"{n}.mat": ZEROS[:300_000] for n in range(4)}), "found 1200000"),
    "bzip2": (states(BOMB, 1000, zipfile.ZIP_BZIP2), "stored or deflated.*method 12"),
    "LZMA": (states(BOMB, 1000, zipfile.ZIP_LZMA), "stored or deflated.*method 14"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_zip_file_is_unpacked_up_to_its_limit(tmp_path, peak, bomb):
    data, message = BOMBS[bomb]
    (path := tmp_path / "bomb.zip").write_bytes(data)
    peak()
    with pytest.raises(UserError, match=rf"bomb\.zip is damaged.*{message}"):
        list(zip_members(path, ".mat", limit=LIMIT))
    assert peak() < 16 << 20


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
        pytest.param(states(ZIP, 3_000_000_000), r"100000 bytes, not 3000000000", id="states more"),
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


def test_an_error_of_the_disk_is_no_damage_of_a_zip_file(tmp_path, monkeypatch):
    def fail(self, member):
        raise OSError(errno.EIO, "disk")

    (tmp_path / "batches.zip").write_bytes(ZIP)
    monkeypatch.setattr(zipfile.ZipFile, "open", fail)
    with pytest.raises(OSError, match="disk"):
        list(zip_members(tmp_path / "batches.zip", ".mat"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_links_and_folders_in_a_tar_file_are_no_members(tmp_path, kind):
    (path := tmp_path / "set.tar.gz").parent.joinpath("secret").write_bytes(b"secret")
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("a")
        info.type, info.linkname = kind, str(tmp_path / "secret")
        archive.addfile(info)
    with pytest.raises(UserError, match=r"set\.tar\.gz is damaged"):
        list(tar_members(path, ["a"], read(path).sha256))


TAR = made.tar({"a/1.bin": DATA, "a/2.bin": b"two", "b/3.bin": b"three"})


def test_only_requested_members_of_a_tar_file_are_read(tmp_path):
    path = tmp_path / "set.tar.gz"
    path.write_bytes(TAR)
    contents = {
        member.name: member.data
        for member in tar_members(path, ["b/3.bin", "a/1.bin"], roots.sha256(TAR))
    }
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
        list(tar_members(path, ["a/1.bin", "b/3.bin"], roots.sha256(data)))
