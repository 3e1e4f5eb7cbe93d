"""Contact sheets: some images of each class, one row per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsbench.reporting.figures.plotting import new_figure, png

INCHES = 0.62  # of an image
GAP = 1  # pixels between images


def contact_sheet(rows: Sequence[tuple[str, NDArray[np.uint8]]], title: str) -> bytes:
    """Draw a contact sheet.

    Args:
        rows: Label and images (N, C, H, W) of each row: gray, color, or a stereo pair, which is
            shown side by side.
        title: Text above the images.

    Returns:
        The PNG.
    """
    strips = [_strip(images) for _, images in rows]
    width = max(strip.shape[1] for strip in strips)
    sheet = np.concatenate([_pad(strip, width) for strip in strips])
    height = len(sheet) / len(rows)
    across = INCHES * width / height
    # Room for the longest label on the left and for the title.
    margin = 0.3 + 0.075 * max(len(label) for label, _ in rows)
    with new_figure((across + margin, INCHES * len(rows) + 0.4)) as figure:
        axes = figure.subplots()
        axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="equal")
        axes.set_xticks([])
        axes.set_yticks([height * (row + 0.5) for row in range(len(rows))])
        axes.set_yticklabels(_escape(label) for label, _ in rows)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
        axes.set_title(_escape(title), loc="left")
    return png(figure)


def _strip(images: NDArray[np.uint8]) -> NDArray[Any]:
    """Return (H, W', 3) images side by side, white between them."""
    count, channels, height, width = images.shape
    if channels == 2:
        images = images.reshape(2 * count, 1, height, width)
    color = np.broadcast_to(images, (len(images), 3, height, width)).transpose(0, 2, 3, 1)
    padded = np.pad(color, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)


def _pad(strip: NDArray[Any], width: int) -> NDArray[Any]:
    """Pad a strip to a width with black."""
    missing = width - strip.shape[1]
    return np.pad(strip, ((0, 0), (0, missing), (0, 0)), constant_values=255)


def _escape(text: str) -> str:
    """Return a text in which matplotlib finds no mathematics."""
    return text.replace("$", r"\$")
