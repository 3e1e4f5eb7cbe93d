"""MATLAB files (version 5) of affNIST and SVHN, parsed by `matlab5`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsbench.files.content import Content
from capsbench.formats.matlab5 import MAX_BYTES, read_matlab

SIDE = 40  # of an image of affNIST, pixels


def read_affnist(content: Content, limit: int = MAX_BYTES) -> dict[str, NDArray[Any]]:
    """Read one file of affNIST.

    Args:
        content: The file, such as ``test.mat`` or one of ``test_batches/*.mat``.
        limit: The most bytes that it may unpack to.

    Returns:
        The fields of the structure ``affNISTdata``, with a row for each of N images: ``"image"``
        (N, 40, 40) uint8, upright, white on black; ``"label_int"`` (N,) int64, the digit; and the
        file's other fields with the axis of the images moved from the end to the front, such as
        ``"human_readable_transform"``.

    Raises:
        UserError: The file is damaged or the wrong file, or a field is not numeric.

    Source: T. Tieleman, affNIST, https://www.cs.toronto.edu/~tijmen/affNIST/.
    """
    fields = read_matlab(content, "affNISTdata", limit=limit)["affNISTdata"]
    if not isinstance(fields, dict):
        raise content.damaged("affNISTdata, a structure", f"{fields.dtype} {fields.shape}")
    for name in ("image", "label_int"):
        if name not in fields:
            raise content.damaged(f"affNISTdata.{name}", f"only {', '.join(fields) or 'nothing'}")
    images, labels = fields["image"], fields["label_int"]
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[0] != SIDE * SIDE:
        expected = f"affNISTdata.image, uint8 ({SIDE * SIDE}, N)"
        raise content.damaged(expected, f"{images.dtype} {images.shape}")
    count = images.shape[1]
    for name, field in fields.items():
        if field.shape[-1] != count:
            raise content.damaged(f"{count} columns in affNISTdata.{name}", f"{field.shape}")
    rows = {name: np.ascontiguousarray(np.moveaxis(field, -1, 0)) for name, field in fields.items()}
    # A column holds an image in row-major order, although MATLAB stores matrices by columns.
    rows["image"] = rows["image"].reshape(count, SIDE, SIDE)
    rows["label_int"] = _classes(content, "affNISTdata.label_int", labels, count, range(10))
    return rows


def read_svhn(content: Content) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one file of SVHN's cropped digits.

    Args:
        content: ``train_32x32.mat`` or ``test_32x32.mat``.

    Returns:
        (N, 3, 32, 32) images, red, green, blue; (N,) digits. The file's label 10 is the digit 0.

    Raises:
        UserError: The file is damaged or the wrong file.

    Source: Y. Netzer et al., Reading Digits in Natural Images (2011).
    """
    images, digits = read_matlab(content, "X", "y").values()
    if isinstance(images, dict) or isinstance(digits, dict):
        raise content.damaged("X and y, matrices of numbers", "a structure")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise content.damaged("X, uint8 (32, 32, 3, N)", f"{images.dtype} {images.shape}")
    count = images.shape[3]
    labels = _classes(content, "y", digits, count, range(1, 11))
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels % 10


def _classes(
    content: Content, name: str, labels: NDArray[Any], count: int, valid: range
) -> NDArray[np.int64]:
    """Return labels as (N,) integers; files store them as a row or a column, some as floats."""
    if labels.size != count:
        raise content.damaged(f"{count} labels in {name}", f"{labels.shape}")
    if not np.isin(labels, valid).all():
        expected = f"labels {valid[0]}..{valid[-1]} in {name}"
        raise content.damaged(expected, f"{labels.min()}..{labels.max()}")
    return labels.reshape(count).astype(np.int64)
