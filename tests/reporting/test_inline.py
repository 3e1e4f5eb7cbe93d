from __future__ import annotations

import base64
import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from capsbench.reporting.inline import data_uri


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_images_are_in_one_column(channels):
    images = np.random.default_rng(0).integers(0, 256, (3, channels, 4, 5), dtype=np.uint8)
    head, _, code = data_uri(images).partition(",")
    assert head == "data:image/png;base64"
    decoded = np.round(255 * imread(io.BytesIO(base64.b64decode(code)))).astype(np.uint8)
    assert decoded.shape == (3 * 4 + 2, 5, 4)
    for index, image in enumerate(images):
        rows = decoded[5 * index : 5 * index + 4]
        for channel in range(3):
            expected = image[channel if channels == 3 else 0]
            np.testing.assert_array_equal(rows[..., channel], expected)
        assert (rows[..., 3] == 255).all()
    assert (decoded[4, :, 3] == 0).all()


def test_no_setting_turns_images_upside_down():
    images = np.zeros((1, 1, 4, 4), np.uint8)
    images[0, 0, 0] = 255
    expected = data_uri(images)
    with mpl.rc_context({"image.origin": "lower"}):
        assert data_uri(images) == expected
