"""Images inside of a self-contained page."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any

import numpy as np
from PIL import Image

QUALITY = 80  # of WebP, 0 to 100


def small_data_uri(images: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """Return images below one another, a row apart, as a WebP inside a data URI, a fifth of a PNG.

    Args:
        images: (K, C, H, W) uint8; unless there are three channels, the first is shown in gray.
    """
    channels = images if images.shape[1] == 3 else images[:, :1].repeat(3, axis=1)
    spaced = np.pad(channels, ((0, 0), (0, 0), (0, 1), (0, 0)))
    column = spaced.transpose(0, 2, 3, 1).reshape(-1, images.shape[-1], 3)[:-1]
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(column)).save(stream, format="WEBP", quality=QUALITY)
    return "data:image/webp;base64," + b64encode(stream.getvalue()).decode()


def data_uri(images: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """Return images in one column, a row apart, as a PNG inside a data URI.

    Args:
        images: (K, C, H, W) uint8; unless there are three channels, the first is shown in gray.
    """
    channels = images if images.shape[1] == 3 else images[:, :1].repeat(3, axis=1)
    opaque = np.pad(channels, ((0, 0), (0, 1), (0, 0), (0, 0)), constant_values=255)
    spaced = np.pad(opaque, ((0, 0), (0, 0), (0, 1), (0, 0)))  # a transparent row after each
    column = spaced.transpose(0, 2, 3, 1).reshape(-1, images.shape[-1], 4)[:-1]
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(column), "RGBA").save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + b64encode(stream.getvalue()).decode()
