"""Fits of poses at positions in the spatial equivariance: fields of vectors of known rotation."""

import pytest
import torch
from torch.nn.functional import pad

from capsbench.names import find
from capsbench.values import select
from tests.measures.computing import compute, number
from tests.measures.layered import Layered, random

TURNS = {"rotation": {"start": -90, "stop": 180, "step": 90}}


def slopes(images):
    """Return the slopes of brightness to the right and downwards, (N, H, W, 1, 2)."""
    padded = pad(images[:, 0], (1, 1, 1, 1))
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    return torch.stack([across, down], dim=-1)[..., None, :]


def measured(**layers):
    model = Layered(**{name: (function, "pose") for name, function in layers.items()})
    data = find("datamodules", "digits").load()()
    return compute("spatial-equivariance", model.eval(), data, grid=TURNS, images=150)


def at(result, metric, layer, view=None):
    place = {"factor": "rotation"} | ({} if view is None else {"view": view})
    return number(result, metric=metric, layer=layer, **place)


def test_a_map_explains_all_of_the_change_of_slopes():
    def matrices(images):
        field = slopes(images)
        return torch.stack([field, field.roll(1, dims=-1)], dim=-2).repeat(1, 1, 1, 2, 1, 1)

    result = measured(slopes=slopes, matrices=matrices)
    for layer in ("slopes", "matrices"):
        for view in (90, -90, 180):
            assert at(result, "explained", layer, view) == pytest.approx(1, abs=1e-6)
            assert at(result, "pose_error", layer, view) < 1e-3
            assert at(result, "spatial_error", layer, view) > 0.5
        assert at(result, "gain_over_control", layer) > 0.999
    # |A - I| / sqrt(2) of a quarter turn is sqrt(2), that of half a turn 2.
    distance = at(result, "distance_from_identity", "slopes", 90)
    assert distance == pytest.approx(2**0.5, abs=1e-3)
    assert at(result, "distance_from_identity", "slopes", 180) == pytest.approx(2, 1e-3)


def test_poses_that_do_not_rotate_leave_no_change_to_explain():
    result = measured(still=lambda images: images[:, 0, :, :, None, None].repeat(1, 1, 1, 1, 3))
    assert not select(result.values, metric="explained", layer="still")
    assert at(result, "spatial_error", "still", 90) == 0
    assert any("undefined" in note and "explained" in note for note in result.notes)


def test_poses_that_are_unrelated_to_the_view_are_not_explained():
    hashed = random(32, 32)

    def noise(images):
        return (1e3 * images[:, 0] * hashed).sin()[..., None, None].repeat(1, 1, 1, 1, 2)

    result = measured(noise=noise)
    # Like the shuffled control: a constant map has half the error of an unrelated pose.
    for view in (90, 180):
        assert at(result, "gain_over_control", "noise", view) < 0.25
