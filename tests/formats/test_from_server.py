"""Download, check and parse a file of every format."""

import numpy as np
import pytest

from capsbench.errors import UserError
from capsbench.files.archives import zip_members
from capsbench.files.content import decompress, read
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


def affnist_batches(path, checksum):
    batches = [read_affnist(member)["image"] for member in zip_members(path, ".mat", checksum)]
    return np.concatenate(batches)


# By file name: maker, reader, images.
SETS = {
    "train-images-idx3-ubyte.gz": (
        lambda: made.packed(made.idx(GREY)),
        lambda path, checksum: read_idx(decompress(read(path, checksum), 1 << 20)),
        GREY,
    ),
    "smallnorb-training-dat.mat.gz": (
        lambda: made.packed(made.norb(PAIRS)),
        lambda path, checksum: read_norb(decompress(read(path, checksum), 1 << 20)),
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
        lambda path, checksum: read_svhn(read(path, checksum))[0],
        COLOUR,
    ),
    "cifar-10-binary.tar.gz": (
        lambda: made.cifar10(COLOUR, DIGITS),
        lambda path, checksum: np.concatenate(
            [part[0] for part in read_cifar10(path, checksum or read(path).sha256).values()]
        ),
        COLOUR,
    ),
    "coil20_128.npz": (
        lambda: made.npz(images=GREY),
        lambda path, checksum: read_npz(read(path, checksum), {"images": (3, "u")})["images"],
        GREY,
    ),
    "train.parquet": (
        lambda: made.smallnorb_parquet(PAIRS, **FACTORS),
        lambda path, checksum: read_parquet_images(read(path, checksum), (96, 96))["images"],
        PAIRS,
    ),
}


@pytest.fixture(params=SETS)
def served(request, server):
    """Serve a file with one broken mirror: remote file, reader, images."""
    if request.param.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    make, parse, images = SETS[request.param]
    server.add(request.param, make())
    server.fail["gone"] = 404
    return server.remote(request.param, "gone", "here"), parse, images


def test_a_set_is_downloaded_checked_and_parsed(served, tmp_path):
    remote, parse, images = served
    fetch([remote], tmp_path, data_set="Set")
    result = parse(tmp_path / remote.name, remote.sha256)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result[[7, 0]], images[[7, 0]])
    np.testing.assert_array_equal(result, images)


def test_a_truncated_set_is_refused_with_and_without_checksum(served, tmp_path):
    remote, parse, _ = served
    fetch([remote], tmp_path, data_set="Set")
    path = tmp_path / remote.name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"{remote.name} is damaged .* SHA-256 {remote.sha256}"):
        parse(path, remote.sha256)
    with pytest.raises(UserError, match=f"{remote.name} is damaged"):
        parse(path, None)


def test_a_web_page_in_place_of_a_set_is_refused(served, tmp_path):
    remote, parse, _ = served
    (tmp_path / remote.name).write_bytes(b"<!DOCTYPE html><title>Log in</title>")
    with pytest.raises(UserError, match=f"{remote.name} is damaged.*web page"):
        parse(tmp_path / remote.name, None)
