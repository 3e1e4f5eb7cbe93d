"""Parts of a self-contained page: figures as inline SVG, images as data URIs."""

from __future__ import annotations

import io
import re
from base64 import b64encode
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib.image import imsave

from capsbench.reporting.figures.style import INK, PAPER, SERIES, css_color

NO_METADATA: dict[str, Any] = {"Software": None}  # the same bytes from every release
_ID = re.compile(r'(\bid="|href="#|url\(#)')


def inline_svg(content: bytes, *, prefix: str, description: str) -> Markup:
    """Return a matplotlib SVG file as an element of the page.

    Ink becomes the color of text, and the colors of series become variables of the page, so that
    the figure follows the light or dark setting. The style sheet decides its size.

    Args:
        content: The SVG file; matplotlib has escaped the names in it.
        prefix: Prefix of every id, which makes the ids unique in the page.
        description: Text for screen readers.

    Raises:
        ValueError: The SVG has no viewBox.
    """
    text = content.decode()
    text = text[text.index("<svg") :]
    head, _, body = text.partition(">")
    view_box = re.search(r'viewBox="([^"]*)"', head)
    if view_box is None:
        raise ValueError("an SVG without a viewBox")
    body = _ID.sub(rf"\g<1>{prefix}-", body)
    body = body.replace(INK, "currentColor").replace(PAPER, "var(--paper)")
    for index, each in enumerate(SERIES):
        body = body.replace(each.color, css_color(index))
    opening = f'<svg role="img" aria-label="{escape(description)}" viewBox="{view_box[1]}">'
    return Markup(opening + body.strip())


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
    imsave(stream, column, format="png", origin="upper", metadata=NO_METADATA)
    return "data:image/png;base64," + b64encode(stream.getvalue()).decode()
