"""Parquet files of images as on the Hugging Face hub: PNG bytes and integer columns."""

from __future__ import annotations

import io
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


def read_parquet_images(
    content: Content,
    images: Sequence[str] = SMALLNORB_IMAGES,
    labels: Sequence[str] = SMALLNORB_LABELS,
) -> dict[str, NDArray[Any]]:
    """Read greyscale images and their labels.

    Args:
        content: The file.
        images: Columns of images: structures whose field ``bytes`` holds a PNG file.
        labels: Columns of integers.

    Returns:
        ``"images"`` (N, columns, H, W) uint8, and each column of labels (N,) int64.

    Raises:
        UserError: pyarrow is not installed, the file is damaged, or a column is missing or of
            another type.
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
        file = pq.ParquetFile(source)
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
        decoded.append(_decode(content, name, table[name].combine_chunks().field("bytes")))
    if len({column.shape for column in decoded}) != 1:
        sizes = ", ".join(str(column.shape[1:]) for column in decoded)
        raise content.damaged("images of one size", sizes)
    return {"images": np.stack(decoded, axis=1), **result}


def _decode(content: Content, column: str, files: Any) -> NDArray[np.uint8]:
    """Decode N PNG files to images (N, H, W)."""
    decoded: NDArray[np.uint8] | None = None
    for row, file in enumerate(files):
        raw = file.as_py()
        position = f"row {row} of the column {column!r}"
        if not isinstance(raw, bytes):
            raise content.damaged(f"a PNG file in {position}", "no bytes")
        try:
            with Image.open(io.BytesIO(raw), formats=["PNG"]) as image:
                pixels = np.asarray(image)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise content.damaged(f"a PNG file in {position}", f"another one ({error})") from None
        if decoded is None:
            decoded = np.empty((len(files), *pixels.shape), np.uint8)
        if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape != decoded.shape[1:]:
            raise content.damaged(
                f"a greyscale image of the same size as the others in {position}",
                f"{pixels.dtype} {pixels.shape}",
            )
        decoded[row] = pixels
    if decoded is None:
        raise content.damaged(f"images in the column {column!r}", "none")
    return decoded
