"""MNIST and similar sets: files in their place, verified before use, images on a canvas."""

import gzip
import hashlib
import struct

import pytest
import torch
from torch.nn.functional import pad

from capsbench.datamodules._idx_sets import MAX_BYTES
from capsbench.datamodules.fashion_mnist import FashionMNIST
from capsbench.datamodules.kmnist import KMNIST
from capsbench.datamodules.mnist import MNIST
from capsbench.errors import UserError
from capsbench.viewpoint.ranges import ViewRange
from tests.datamodules import roots
from tests.datamodules.properties import require_disjoint, splits
from tests.files.server import serving


@pytest.fixture
def root(tmp_path, monkeypatch):
    roots.idx_set(tmp_path, monkeypatch, MNIST)
    return tmp_path


@pytest.mark.parametrize("packed", [True, False])
def test_files_are_read_in_their_place(root, packed):
    place = MNIST.folder(root)
    if not packed:
        for path in place.iterdir():
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
    before = sorted(place.iterdir())
    parts = splits(MNIST(data_root=root))
    assert [len(part) for part in parts] == [110, 10, 40]
    assert parts[2].targets.tolist() == [i * 7 % 10 for i in range(40)]
    assert sorted(place.iterdir()) == before
    assert MNIST.availability(root) == f"found in {place}"


def altered(packed):
    """Return the same file with another last label."""
    *rest, last = gzip.decompress(packed)
    return gzip.compress(bytes([*rest, (last + 1) % 10]))


DAMAGES = {
    "altered": altered,
    "truncated": lambda content: content[:-20],
    "swapped": lambda content: gzip.compress(b"another file"),
    "a web page": lambda content: b"<html>not found</html>",
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("cls", [MNIST, KMNIST])
def test_damaged_files_are_named(tmp_path, monkeypatch, cls, damage):
    roots.idx_set(tmp_path, monkeypatch, cls)
    path = cls.folder(tmp_path) / "train-labels-idx1-ubyte.gz"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte\.gz is damaged"):
        cls(data_root=tmp_path).split("train")


def test_a_file_that_was_packed_again_is_accepted(root):
    path = MNIST.folder(root) / "train-labels-idx1-ubyte.gz"
    plain = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(plain, compresslevel=1, mtime=1))
    assert len(MNIST(data_root=root).split("train")) == 110


def test_the_error_of_an_altered_file_has_all_checksums(root):
    path = MNIST.folder(root) / "train-labels-idx1-ubyte.gz"
    path.write_bytes(altered(path.read_bytes()))
    known = MNIST.files["train-labels-idx1-ubyte"]
    actual = [roots.sha256(path.read_bytes()), roots.sha256(gzip.decompress(path.read_bytes()))]
    with pytest.raises(UserError) as raised:
        MNIST(data_root=root).split("train")
    for checksum in (known.packed, known.plain, *actual):
        assert checksum in str(raised.value)


def test_the_checksum_of_the_packed_file_is_enough(root, monkeypatch):
    for name, file in MNIST.files.items():
        monkeypatch.setitem(MNIST.files, name, file._replace(plain="of another file"))
    assert len(MNIST(data_root=root).split("train")) == 110


def test_images_and_labels_must_belong_together(root, monkeypatch):
    place, name = MNIST.folder(root), "t10k-labels-idx1-ubyte"
    content = struct.pack(">II", 0x801, 39) + bytes(39)
    (place / name).write_bytes(content)
    known = MNIST.files[name]._replace(plain=roots.sha256(content))
    monkeypatch.setitem(MNIST.files, name, known)
    with pytest.raises(UserError, match=r"labels.*images"):
        MNIST(data_root=root).split("test")


def test_a_failed_download_names_file_and_folder(root):
    (MNIST.folder(root) / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte\.gz .*raw"):
        MNIST(data_root=root).split("train")
    assert "put t10k-labels-idx1-ubyte" in MNIST.availability(root)


def test_missing_files_are_downloaded(root, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with serving() as server:
        for path in MNIST.folder(root).iterdir():
            server.add(path.name, path.read_bytes())
        mirrors = (f"{server.address}/gone", f"{server.address}/here")
        monkeypatch.setattr(MNIST, "mirrors", mirrors)
        server.fail["gone"] = 404
        assert len(MNIST(data_root=elsewhere).split("train")) == 110
    assert MNIST.availability(elsewhere) == f"found in {MNIST.folder(elsewhere)}"


def test_the_unpacked_one_of_two_files_is_read(root):
    packed = MNIST.folder(root) / "t10k-labels-idx1-ubyte.gz"
    plain = packed.with_suffix("")
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    packed.write_bytes(b"")
    assert len(MNIST(data_root=root).split("test")) == 40
    plain.write_bytes(b"")
    known = MNIST.files[plain.name].plain
    with pytest.raises(UserError, match=rf"ubyte is damaged.*SHA-256 {known}, found e3b0c44\w*;"):
        MNIST(data_root=root).split("test")


def test_an_unpacked_file_may_be_verified_by_its_md5(root, monkeypatch):
    packed = MNIST.folder(root) / "t10k-labels-idx1-ubyte.gz"
    (plain := packed.with_suffix("")).write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    md5 = hashlib.md5(plain.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setitem(MNIST.files, plain.name, MNIST.files[plain.name]._replace(plain=md5))
    assert len(MNIST(data_root=root).split("test")) == 40
    plain.write_bytes(plain.read_bytes() + b"0")
    with pytest.raises(UserError, match=f"expected MD5 {md5}, found [0-9a-f]{{32}};"):
        MNIST(data_root=root).split("test")


def test_every_form_has_a_checksum_and_a_bound():
    # The sums of packed files and of two sets of unpacked ones are the identities of records.
    for cls in (MNIST, FashionMNIST, KMNIST):
        for file in cls.files.values():
            assert len(file.packed) == 64 and len(file.plain) in (32, 64)
    sums = [file.plain for file in FashionMNIST.files.values()]
    assert [each[:8] for each in sums] == ["c59f468a", "bad3541b", "5b4141f0", "0402a96d"]
    assert MAX_BYTES == 47_040_016  # of the training images, as published


def test_a_packed_file_that_unpacks_to_more_is_refused(root):
    path = MNIST.folder(root) / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(bytes(MAX_BYTES + 1), compresslevel=1))
    with pytest.raises(UserError, match=rf"gz is damaged.*at most {MAX_BYTES} bytes unpacked"):
        MNIST(data_root=root).split("train")


@pytest.mark.parametrize(
    "other",
    ["raw/t10k-images-idx3-ubyte.gz", "T10K-IMAGES-IDX3-UBYTE.GZ", "t10k-images.idx3-ubyte"],
)
def test_files_under_another_name_are_mentioned(root, other):
    path = MNIST.folder(root) / "t10k-images-idx3-ubyte.gz"
    (path.parent / "raw").mkdir()
    path.rename(path.parent / other)
    assert f"(there is {other}: another name" in MNIST.availability(root)
    with pytest.raises(UserError, match=f"there is {other}: another name"):
        MNIST(data_root=root).split("test")


def test_a_canvas_has_the_image_in_its_middle(root):
    data = MNIST(data_root=root, canvas=40)
    assert data.image_shape == (1, 40, 40)
    assert data.split("test").images.shape[1:] == (1, 28, 28)
    stored = data.split("test").images.float() / 255
    for batch in data.evaluation.batches("test", "cpu"):
        assert torch.equal(batch.images, pad(stored[batch.index], (6, 6, 6, 6)))


def test_turning_on_a_canvas_is_turning_the_canvas(root):
    turned = MNIST(data_root=root, canvas=40, views=ViewRange(rotation=90))
    plain = MNIST(data_root=root, canvas=40)
    for one, other in zip(
        turned.evaluation.batches("test", "cpu"),
        plain.evaluation.batches("test", "cpu"),
        strict=True,
    ):
        assert torch.equal(one.images, torch.rot90(other.images, 1, (2, 3)))


def test_a_canvas_without_a_middle_is_refused():
    with pytest.raises(UserError, match=r"canvas of mnist.*even"):
        MNIST(canvas=33)


def test_the_canvas_does_not_change_the_identity():
    assert MNIST(canvas=40).identity == MNIST().identity
    assert len({cls.identity.checksum for cls in (MNIST, FashionMNIST, KMNIST)}) == 3


@pytest.mark.skipif(
    bool(MNIST.missing_files(roots.REAL)), reason=f"no MNIST files under {roots.REAL}"
)
def test_real_mnist():
    parts = splits(MNIST(data_root=roots.REAL))
    assert [len(part) for part in parts] == [55000, 5000, 10000]
    require_disjoint(parts, one_source=False)
    assert parts[2].targets[:5].tolist() == [7, 2, 1, 0, 4]
