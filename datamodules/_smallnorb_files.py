"""The files of smallNORB: the official binary matrices, and their port to parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.files.content import Content, damaged, decompress, read
from capsbench.files.remote import RemoteFile
from capsbench.formats.norb import read_norb
from capsbench.formats.parquet import read_parquet_images

SIDE = 96  # pixels of an image
HOST = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small"
STEMS = {
    "training": "smallnorb-5x46789x9x18x6x2x96x96-training",
    "testing": "smallnorb-5x01235x9x18x6x2x96x96-testing",
}
KINDS = ("dat", "cat", "info")
LEVELS = (5, 10, 9, 18, 6)  # categories, toys, elevations, azimuths, lightings
# Of each category; no toy is in both parts.
TOYS = {"training": (4, 6, 7, 8, 9), "testing": (0, 1, 2, 3, 5)}
MAX_BYTES = 1 << 29  # of an unpacked file: the pixels of one half are 448 million


def _packed(part: str, kind: str, size: int, checksum: str) -> RemoteFile:
    name = f"{STEMS[part]}-{kind}.mat.gz"
    return RemoteFile(name, checksum, size, (f"{HOST}/{name}",))


OFFICIAL = {
    ("training", "dat"): _packed(
        "training",
        "dat",
        131896188,
        "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873",
    ),
    ("training", "cat"): _packed(
        "training",
        "cat",
        348,
        "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa",
    ),
    ("training", "info"): _packed(
        "training",
        "info",
        71052,
        "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32",
    ),
    ("testing", "dat"): _packed(
        "testing",
        "dat",
        130799817,
        "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474",
    ),
    ("testing", "cat"): _packed(
        "testing",
        "cat",
        347,
        "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff",
    ),
    ("testing", "info"): _packed(
        "testing",
        "info",
        10428,
        "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2",
    ),
}
# MD5 of the unpacked files: no other sum of them has been published.
PLAIN = {
    ("training", "dat"): "8138a0902307b32dfa0025a36dfa45ec",
    ("training", "cat"): "fd5120d3f770ad57ebe620eb61a0b633",
    ("training", "info"): "19faee774120001fc7e17980d6960451",
    ("testing", "dat"): "e9920b7f7b2869a8f1a12e945b2c166c",
    ("testing", "cat"): "fd5120d3f770ad57ebe620eb61a0b633",
    ("testing", "info"): "7c5b871cc69dcadec1bf6a18141f5edc",
}

HUB = "https://huggingface.co/datasets/Ramos-Ramos/smallnorb/resolve/main/data"
PORT = (
    RemoteFile(
        "train-00000-of-00001-ba54590c34eb8af1.parquet",
        None,  # not published
        None,
        (f"{HUB}/train-00000-of-00001-ba54590c34eb8af1.parquet",),
        "parquet",
    ),
    RemoteFile(
        "test-00000-of-00001-b4af1727fb5b132e.parquet",
        "f783bf5dc7d74a9ecfa35f6b3874564dbaae47c791b51112d57d154807250e60",
        118487714,
        (f"{HUB}/test-00000-of-00001-b4af1727fb5b132e.parquet",),
    ),
)


class Half(NamedTuple):
    """The training or the test images."""

    images: Tensor
    """(N, 2, H, W) uint8, of the left and the right eye."""
    categories: Tensor
    """(N,) int64."""
    factors: dict[str, Tensor]
    """(N,) int64: ``azimuth`` and ``elevation`` in degrees, ``lighting``, ``instance``."""


def missing_official(folder: Path) -> list[RemoteFile]:
    """Return the official files that are in a folder neither packed nor unpacked."""
    return [
        file
        for file in OFFICIAL.values()
        if not (folder / file.name).is_file() and not (folder / _unpacked_name(file)).is_file()
    ]


def read_official(folder: Path, part: str, step: int) -> Half:
    """Read three binary matrices.

    Args:
        folder: Folder of the files.
        part: ``training`` or ``testing``.
        step: Distance of the pixels that are kept, across and down.

    Raises:
        UserError: A file is damaged or has another checksum.
    """
    images, categories, info = (read_norb(_content(folder, part, kind)) for kind in KINDS)
    path = folder / STEMS[part]
    count = len(categories)
    if images.shape[:2] != (count, 2) or info.shape != (count, 4):
        raise damaged(path, f"{count} pairs of images", f"{images.shape} and {info.shape}")
    instance, elevation, azimuth, lighting = info.T
    codes = (categories, instance, elevation, azimuth, lighting)
    return _half(path, part, images, codes, step)


def read_port(folder: Path, part: str, step: int) -> Half:
    """Read a parquet file; arguments as for `read_official`.

    Raises:
        UserError: The file is damaged or has another checksum, or pyarrow is not installed.
    """
    file = PORT[0 if part == "training" else 1]
    columns = read_parquet_images(read(folder / file.name, file.sha256), (SIDE, SIDE))
    names = ("category", "instance", "elevation", "azimuth", "lighting")
    codes = [columns[name] for name in names]
    return _half(folder / file.name, part, columns["images"], codes, step)


def _half(
    path: Path,
    part: str,
    images: NDArray[np.uint8],
    codes: Sequence[NDArray[Any]],
    step: int,
) -> Half:
    """Return images with labels in degrees, after a check that each toy has each view once."""
    numbers = [torch.from_numpy(values.astype(np.int64)) for values in codes]
    categories, instance, elevation, half_azimuth, lighting = numbers
    levels = [categories, instance, elevation, half_azimuth // 2, lighting]
    known = all(v.min() >= 0 and v.max() < n for v, n in zip(levels, LEVELS, strict=True))
    if not known or (half_azimuth % 2).any():
        ends = ", ".join(f"{int(v.min())}..{int(v.max())}" for v in numbers)
        expected = "category 0..4, toy 0..9, elevation 0..8, even azimuth 0..34, lighting 0..5"
        raise damaged(path, expected, ends)
    row = torch.zeros_like(categories)
    for values, count in zip(levels, LEVELS, strict=True):
        row = row * count + values
    toys = instance.unique().tolist()
    views = LEVELS[2] * LEVELS[3] * LEVELS[4]
    whole = LEVELS[0] * len(TOYS[part]) * views
    if not set(toys) <= set(TOYS[part]) or not len(row) == len(row.unique()) == whole:
        required, actual = (", ".join(map(str, some)) for some in (TOYS[part], toys))
        expected = f"toys {required} of each category in {views} views and lightings, each once"
        pairs = f"{len(row)} pairs, {len(row.unique())} of them different"
        raise damaged(path, expected, f"toys {actual} in {pairs}")
    factors = {
        "azimuth": 10 * half_azimuth,
        "elevation": 30 + 5 * elevation,
        "lighting": lighting,
        "instance": instance,
    }
    kept = np.ascontiguousarray(images[:, :, ::step, ::step])
    return Half(torch.from_numpy(kept), categories, factors)


def _content(folder: Path, part: str, kind: str) -> Content:
    """Return the unpacked content of a file, after its checksum was verified."""
    file = OFFICIAL[part, kind]
    plain = folder / _unpacked_name(file)
    if not plain.is_file():
        return decompress(read(folder / file.name, file.sha256), MAX_BYTES)
    return read(plain, PLAIN[part, kind], limit=MAX_BYTES)


def _unpacked_name(file: RemoteFile) -> str:
    return file.name.removesuffix(".gz")
