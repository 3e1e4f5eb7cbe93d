"""Parquet files of images as on the Hugging Face hub: PNG bytes and integer columns."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from capsbench.errors import UserError
from capsbench.files.content import Content, describe_start

# The port of smallNORB at https://huggingface.co/datasets/Ramos-Ramos/smallnorb.
SMALLNORB_IMAGES = ("image_lt", "image_rt")
SMALLNORB_LABELS = ("category", "instance", "elevation", "azimuth", "lighting")
NOT_A_PICTURE = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


MAX_BYTES = 1 << 29  # of a file, unpacked, and of its pixels: smallNORB's port has 448 million


def read_parquet_images(
    content: Content,
    size: tuple[int, int],
    images: Sequence[str] = SMALLNORB_IMAGES,
    labels: Sequence[str] = SMALLNORB_LABELS,
) -> dict[str, NDArray[Any]]:
    """Read greyscale images and their labels.

    Args:
        content: The file.
        size: (H, W), the size of every image.
        images: Columns of images: structures whose field ``bytes`` holds a PNG file.
        labels: Columns of integers.

    Returns:
        ``"images"`` (N, columns, H, W) uint8, and each column of labels (N,) int64.

    Raises:
        UserError: pyarrow is not installed, the file is damaged or unpacks to more than
            `MAX_BYTES`, a column is missing or of another type, or an image has another size.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise UserError(
            f"{content.name} is a parquet file, which needs pyarrow; install it with "
            "pip install 'capsbench[parquet]'"
        ) from None
    if not content.data.startswith(b"PAR1"):
        raise content.damaged("a parquet file", describe_start(content.data))
    try:
        source = pa.BufferReader(pa.py_buffer(content.data))
        # Images that are stored once for many rows then take their memory once.
        file = pq.ParquetFile(source, read_dictionary=[f"{name}.bytes" for name in images])
        _require_bounded(content, file.metadata, len(images) * math.prod(size))
        names = file.schema_arrow.names
        for name in (*images, *labels):
            if name not in names:
                raise content.damaged(f"a column {name!r}", ", ".join(names))
        table = file.read(columns=[*images, *labels])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        first = str(error).partition("\n")[0]
        raise content.damaged("a complete parquet file", f"an unreadable one ({first})") from None
    result: dict[str, NDArray[Any]] = {}
    for name in labels:
        column = table[name]
        if not pa.types.is_integer(column.type) or column.null_count:
            raise content.damaged(f"integers in the column {name!r}", str(column.type))
        result[name] = column.to_numpy().astype(np.int64)
    decoded = []
    for name in images:
        kind = table[name].type
        if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
            raise content.damaged(f"images as structures in the column {name!r}", str(kind))
        files = table[name].combine_chunks().field("bytes")
        decoded.append(_decode(content, name, files, size))
    return {"images": np.stack(decoded, axis=1), **result}


def _require_bounded(content: Content, metadata: Any, row: int) -> None:
    """Refuse a file that would fill the memory.

    Args:
        content: The file.
        metadata: Its metadata.
        row: Bytes of the pixels of a row.
    """
    groups = range(metadata.num_row_groups)
    unpacked = sum(metadata.row_group(group).total_byte_size for group in groups)
    for total, what in ((unpacked, "unpacked"), (metadata.num_rows * row, "of pixels")):
        if not 0 <= total <= MAX_BYTES:
            raise content.damaged(f"at most {MAX_BYTES} bytes {what}", str(total))


def _decode(content: Content, column: str, files: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode N PNG files of a size to images (N, H, W)."""
    if not len(files):
        raise content.damaged(f"images in the column {column!r}", "none")
    decoded = np.empty((len(files), *size), np.uint8)
    for row, file in enumerate(files):
        raw = file.as_py()
        position = f"row {row} of the column {column!r}"
        if not isinstance(raw, bytes):
            raise content.damaged(f"a PNG file in {position}", "no bytes")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(raw), formats=["PNG"]) as image:
                    if (image.mode, image.size) == ("L", size[::-1]):  # before it is unpacked
                        decoded[row] = np.asarray(image)
                        continue
                    actual = f"{image.width} x {image.height} of mode {image.mode}"
        except NOT_A_PICTURE as error:
            raise content.damaged(f"a PNG file in {position}", f"another one ({error})") from None
        height, width = size
        expected = f"a greyscale image of {width} x {height} pixels in {position}"
        raise content.damaged(expected, actual)
    return decoded
