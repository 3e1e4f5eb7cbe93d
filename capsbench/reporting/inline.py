"""What a self-contained page is made of: figures as inline SVG, images as data URIs."""

from __future__ import annotations

import io
import re
from base64 import b64encode
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib.image import imsave

from capsbench.reporting.style import INK, PAPER, SERIES, variable

NO_METADATA: dict[str, Any] = {"Software": None}  # the same bytes from every release
_ID = re.compile(r'(\bid="|href="#|url\(#)')


def inline_svg(content: bytes, *, prefix: str, description: str) -> Markup:
    """A matplotlib SVG file as an element of the page.

    Its ink becomes the text's colour and its series colours the page's variables, so that it
    follows the light or dark setting; its size is left to the style sheet.

    Args:
        content: The SVG file; matplotlib has escaped the names in it.
        prefix: Put before every id, which must be unique in the page.
        description: What a screen reader says in place of the figure.
    """
    text = content.decode()
    text = text[text.index("<svg") :]
    head, _, body = text.partition(">")
    view_box = re.search(r'viewBox="([^"]*)"', head)
    if view_box is None:
        raise ValueError("an SVG without a viewBox")
    body = _ID.sub(rf"\g<1>{prefix}-", body)
    body = body.replace(INK, "currentColor").replace(PAPER, "var(--paper)")
    for index, look in enumerate(SERIES):
        body = body.replace(look.colour, variable(index))
    opening = f'<svg role="img" aria-label="{escape(description)}" viewBox="{view_box[1]}">'
    return Markup(opening + body.strip())


def data_uri(images: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """Images one below the other, a row apart, as a PNG inside of an address.

    Args:
        images: (K, C, H, W) uint8; of other than three channels the first is shown in grey.
    """
    channels = images if images.shape[1] == 3 else images[:, :1].repeat(3, axis=1)
    opaque = np.pad(channels, ((0, 0), (0, 1), (0, 0), (0, 0)), constant_values=255)
    spaced = np.pad(opaque, ((0, 0), (0, 0), (0, 1), (0, 0)))  # a transparent row after each
    column = spaced.transpose(0, 2, 3, 1).reshape(-1, images.shape[-1], 4)[:-1]
    stream = io.BytesIO()
    imsave(stream, column, format="png", metadata=NO_METADATA)
    return "data:image/png;base64," + b64encode(stream.getvalue()).decode()
