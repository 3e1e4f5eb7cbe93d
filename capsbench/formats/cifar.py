"""Binary version of CIFAR-10: a label and 3 x 32 x 32 bytes per image.

The Python version consists of pickles, which are never opened here.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capsbench.errors import UserError
from capsbench.files.archives import tar_members
from capsbench.files.content import Content

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]

FOLDER = "cifar-10-batches-bin"
TRAIN = tuple(f"{FOLDER}/data_batch_{number}.bin" for number in range(1, 6))
TEST = (f"{FOLDER}/test_batch.bin",)
SHAPE = (3, 32, 32)
ROW = 1 + 3 * 32 * 32
CLASSES = 10


def read_cifar_batch(content: Content) -> Labelled:
    """Read one batch.

    Returns:
        (N, 3, 32, 32) images, red, green, blue, a view of the content's memory; (N,) labels.

    Raises:
        UserError: The length is not a multiple of a row's, or a label is not in 0..9.
    """
    count, rest = divmod(len(content.data), ROW)
    if rest or not count:
        raise content.damaged(f"rows of {ROW} bytes", f"{len(content.data)} bytes")
    rows = np.frombuffer(content.data, np.uint8).reshape(count, ROW)
    labels = rows[:, 0].astype(np.int64)
    if labels.max() >= CLASSES:
        raise content.damaged(f"labels 0..{CLASSES - 1}", f"{labels.max()}")
    return rows[:, 1:].reshape(count, *SHAPE), labels


def read_cifar10(path: Path, expected: str) -> dict[str, Labelled]:
    """Read ``cifar-10-binary.tar.gz`` without extracting it.

    Args:
        path: Path of the archive.
        expected: SHA-256 of the archive, checked first.

    Returns:
        ``"train"`` and ``"test"``: images and labels as in `read_cifar_batch`, in the order of the
        batches' numbers.

    Raises:
        UserError: The file is damaged, the wrong file, or the Python version.
    """
    if "python" in path.name:
        raise UserError(
            f"{path} is CIFAR-10's Python version, which consists of pickles; "
            "use the binary version, cifar-10-binary.tar.gz, instead"
        )
    batches: dict[str, Labelled] = {}
    for member in tar_members(path, TRAIN + TEST, expected):
        batches[member.name.removeprefix(f"{path}:")] = read_cifar_batch(member)
    return {"train": _concatenate(batches, TRAIN), "test": _concatenate(batches, TEST)}


def _concatenate(batches: dict[str, Labelled], names: tuple[str, ...]) -> Labelled:
    images, labels = zip(*(batches[name] for name in names), strict=True)
    return np.concatenate(images), np.concatenate(labels)
