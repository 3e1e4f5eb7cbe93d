"""The whole way for every format: download, check, open, index."""

import numpy as np
import pytest

from capsbench.errors import UserError
from capsbench.files.archives import zip_members
from capsbench.files.content import read, unpacked
from capsbench.files.download import fetch
from capsbench.formats.cifar import read_cifar10
from capsbench.formats.idx import read_idx
from capsbench.formats.matlab import read_affnist, read_svhn
from capsbench.formats.norb import read_norb
from capsbench.formats.npz import read_npz
from capsbench.formats.parquet import read_parquet_images
from tests.formats import made

NUMBERS = np.random.default_rng(0)
COLOUR = NUMBERS.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
GREY = NUMBERS.integers(0, 256, (12, 40, 40), dtype=np.uint8)
PAIRS = NUMBERS.integers(0, 256, (12, 2, 96, 96), dtype=np.uint8)
DIGITS = np.arange(12) % 10
FACTORS = dict.fromkeys(("category", "instance", "elevation", "azimuth", "lighting"), DIGITS)


def affnist_batches(path, sum_):
    batches = [read_affnist(member)["image"] for member in zip_members(path, ".mat", sum_)]
    return np.concatenate(batches)


# A file's name -> how it is made, how it is opened, the images.
SETS = {
    "train-images-idx3-ubyte.gz": (
        lambda: made.packed(made.idx(GREY)),
        lambda path, sum_: read_idx(unpacked(read(path, sum_))),
        GREY,
    ),
    "smallnorb-training-dat.mat.gz": (
        lambda: made.packed(made.norb(PAIRS)),
        lambda path, sum_: read_norb(unpacked(read(path, sum_))),
        PAIRS,
    ),
    "test_batches.zip": (
        lambda: made.zipped(
            {
                f"test_batches/{n}.mat": made.affnist(GREY[n - 1 :: 12], DIGITS[:1])
                for n in range(1, 13)
            }
        ),
        affnist_batches,
        GREY,
    ),
    "test_32x32.mat": (
        lambda: made.svhn(COLOUR, DIGITS),
        lambda path, sum_: read_svhn(read(path, sum_))[0],
        COLOUR,
    ),
    "cifar-10-binary.tar.gz": (
        lambda: made.cifar10(COLOUR, DIGITS),
        lambda path, sum_: np.concatenate([part[0] for part in read_cifar10(path, sum_).values()]),
        COLOUR,
    ),
    "coil20_128.npz": (
        lambda: made.npz(images=GREY),
        lambda path, sum_: read_npz(read(path, sum_), {"images": (3, "u")})["images"],
        GREY,
    ),
    "train.parquet": (
        lambda: made.smallnorb_parquet(PAIRS, **FACTORS),
        lambda path, sum_: read_parquet_images(read(path, sum_))["images"],
        PAIRS,
    ),
}


@pytest.fixture(params=SETS)
def served(request, server):
    """A file of which one mirror is gone: where it is, how it is opened, its images."""
    if request.param.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    make, open_, images = SETS[request.param]
    server.add(request.param, make())
    server.fail["gone"] = 404
    return server.remote(request.param, "gone", "here"), open_, images


def test_a_set_is_downloaded_checked_opened_and_indexed(served, tmp_path):
    remote, open_, images = served
    fetch([remote], tmp_path, what="Set")
    found = open_(tmp_path / remote.name, remote.sha256)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[[7, 0]], images[[7, 0]])
    np.testing.assert_array_equal(found, images)


def test_a_set_cut_short_is_named_with_a_sum_and_without(served, tmp_path):
    remote, open_, _ = served
    fetch([remote], tmp_path, what="Set")
    path = tmp_path / remote.name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"{remote.name} is damaged .* SHA-256 {remote.sha256}"):
        open_(path, remote.sha256)
    with pytest.raises(UserError, match=f"{remote.name} is damaged or another file: expected"):
        open_(path, None)


def test_a_web_page_in_place_of_a_set_is_named(served, tmp_path):
    remote, open_, _ = served
    (tmp_path / remote.name).write_bytes(b"<!DOCTYPE html><title>Log in</title>")
    with pytest.raises(
        UserError, match=f"{remote.name} is damaged .* found a web page; replace it"
    ):
        open_(tmp_path / remote.name, None)
