"""Contact sheets: some images of each class, one row a class, to look at what a split holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsbench.reporting.figures import new_figure, png

INCHES = 0.62  # of an image
GAP = 1  # pixels between images


def contact_sheet(rows: Sequence[tuple[str, NDArray[np.uint8]]], title: str) -> bytes:
    """Draw a contact sheet.

    Args:
        rows: Each row's label and images (N, C, H, W): grey, colour, or a stereo pair, which is
            shown side by side.
        title: What stands above.

    Returns:
        A PNG.
    """
    strips = [_strip(images) for _, images in rows]
    width = max(strip.shape[1] for strip in strips)
    sheet = np.concatenate([_wide(strip, width) for strip in strips])
    height = len(sheet) / len(rows)
    across = INCHES * width / height
    # Room for the longest label beside, and for the title above.
    margin = 0.3 + 0.075 * max(len(label) for label, _ in rows)
    with new_figure((across + margin, INCHES * len(rows) + 0.4)) as figure:
        axes = figure.subplots()
        axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="equal")
        axes.set_xticks([])
        axes.set_yticks([height * (row + 0.5) for row in range(len(rows))])
        axes.set_yticklabels(_plain(label) for label, _ in rows)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
        axes.set_title(_plain(title), loc="left")
    return png(figure)


def _strip(images: NDArray[np.uint8]) -> NDArray[Any]:
    """(H, W', 3) images side by side, white between them."""
    count, channels, height, width = images.shape
    if channels == 2:
        images = images.reshape(2 * count, 1, height, width)
    colour = np.broadcast_to(images, (len(images), 3, height, width)).transpose(0, 2, 3, 1)
    padded = np.pad(colour, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)


def _wide(strip: NDArray[Any], width: int) -> NDArray[Any]:
    missing = width - strip.shape[1]
    return np.pad(strip, ((0, 0), (0, missing), (0, 0)), constant_values=255)


def _plain(text: str) -> str:
    """A text in which matplotlib takes nothing for mathematics."""
    return text.replace("$", r"\$")
