"""The sets: divided once and for all, checked before use, the same view for each image."""

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from capsbench.data.images import SplitName
from capsbench.datamodules import mnist
from capsbench.datamodules.digits import Digits
from capsbench.datamodules.mnist import MNIST
from capsbench.errors import UserError
from capsbench.viewpoint.ranges import GridView, ViewRange

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
REAL = Path(os.environ.get("CAPSBENCH_DATA", "../shared/data"))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Small IDX files in the real format, packed, with their checksums for the real ones."""
    place = mnist.folder(tmp_path)
    place.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    sums = {}
    for part, count in (("train", 120), ("t10k", 40)):
        images = numbers.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (
            (f"{part}-images-idx3-ubyte", images),
            (f"{part}-labels-idx1-ubyte", labels),
        ):
            content = (
                struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()
            )
            sums[kind] = hashlib.sha256(content).hexdigest()
            (place / f"{kind}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(mnist, "FILES", sums)
    return tmp_path


def parts(data):
    return [data.split(name) for name in SPLITS]


def assert_divided(splits, one_source):
    seen = [set(split.index.tolist()) for split in splits]
    assert all(len(found) == len(split) for found, split in zip(seen, splits, strict=True))
    pairs = [(0, 1), (0, 2), (1, 2)] if one_source else [(0, 1)]
    assert all(seen[a].isdisjoint(seen[b]) for a, b in pairs)


def test_digits_are_divided_disjointly_and_balanced():
    splits = parts(Digits())
    assert [len(split) for split in splits] == [1198, 199, 400]
    assert_divided(splits, one_source=True)
    for split in splits[1:]:
        counts = torch.bincount(split.targets)
        assert counts.max() - counts.min() <= 1
    train = splits[0]
    assert (train.images.dtype, train.images.shape[1:]) == (torch.uint8, (1, 32, 32))
    assert not train.images[..., :4, :].any()
    assert train.images.max() == 255


def test_splits_do_not_depend_on_the_seed():
    one, other = Digits(seed=0), Digits(seed=1)
    for name in SPLITS:
        assert torch.equal(one.split(name).index, other.split(name).index)


def test_changed_digits_are_refused(monkeypatch):
    monkeypatch.setitem(Digits.identity, "checksum", "sha256:0")
    with pytest.raises(UserError, match="expected sha256:0"):
        Digits().split("train")


def test_a_limit_is_balanced_nested_and_gives_no_image_another_view():
    views = ViewRange(rotation=(-30, 30))
    whole = Digits(views=views)
    small, smaller = Digits(views=views, limit=100), Digits(views=views, limit=50)
    for name in SPLITS:
        indices = [set(d.split(name).index.tolist()) for d in (whole, small, smaller)]
        assert indices[2] < indices[1] < indices[0]
        assert torch.bincount(small.split(name).targets).tolist() == [10] * 10

    def seen(data):
        return {
            int(i): image
            for batch in data.batches("validation", "cpu")
            for i, image in zip(batch.index, batch.images, strict=True)
        }

    every = seen(whole)
    assert all(torch.equal(image, every[i]) for i, image in seen(smaller).items())


def test_evaluation_does_not_depend_on_the_batch_size(monkeypatch):
    data = Digits(views=ViewRange(rotation=(-30, 30)), limit=60)
    large = torch.cat([batch.images for batch in data.batches("test", "cpu")])
    monkeypatch.setattr("capsbench.data.images.EVALUATION_BATCH", 7)
    small = torch.cat([batch.images for batch in data.batches("test", "cpu")])
    torch.testing.assert_close(small, large, atol=1e-6, rtol=0)


def test_batches_are_floats_in_the_unit_interval_seen_from_their_views():
    data = Digits(limit=50)
    (batch,) = data.batches("test", "cpu")
    stored = data.split("test")
    assert torch.equal(batch.images, stored.images.float() / 255)
    (turned,) = data.batches("test", "cpu", GridView("rotation", 90))
    assert torch.equal(turned.images, torch.rot90(batch.images, 1, (2, 3)))


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_files_are_read_where_they_are(files, packed):
    if not packed:
        for path in mnist.folder(files).iterdir():
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
    before = sorted(mnist.folder(files).iterdir())
    splits = parts(MNIST(data_root=files))
    assert [len(split) for split in splits] == [110, 10, 40]
    assert_divided(splits, one_source=False)
    assert splits[2].targets.tolist() == [i % 10 for i in range(40)]
    assert sorted(mnist.folder(files).iterdir()) == before
    assert MNIST.found(files) == f"found in {mnist.folder(files)}"


DAMAGES = {
    "truncated": lambda content: content[:-20],
    "swapped": lambda content: gzip.compress(b"another file"),
    "a web page": lambda content: b"<html>not found</html>",
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_mnist_files_are_named(files, damage):
    path = mnist.folder(files) / "train-labels-idx1-ubyte.gz"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte\.gz is damaged"):
        MNIST(data_root=files).split("train")


def test_a_failed_download_says_which_file_to_put_where(files, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no mirror answered")

    (mnist.folder(files) / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setattr("torchvision.datasets.MNIST", fail)
    with pytest.raises(UserError, match=r"put t10k-labels-idx1-ubyte .* in .*raw"):
        MNIST(data_root=files).split("train")
    assert "put t10k-labels-idx1-ubyte in" in MNIST.found(files)


@pytest.mark.skipif(bool(mnist.missing_files(REAL)), reason=f"no MNIST files under {REAL}")
def test_real_mnist():
    splits = parts(MNIST(data_root=REAL))
    assert [len(split) for split in splits] == [55000, 5000, 10000]
    assert_divided(splits, one_source=False)
    assert splits[2].targets[:5].tolist() == [7, 2, 1, 0, 4]
