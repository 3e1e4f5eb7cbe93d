"""Warped maps: against loops over positions, and on networks of known equivariance."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from capsbench.contracts import LayerOfInterest
from capsbench.errors import UserError
from capsbench.measures._layer_transforms import LayerTransforms
from capsbench.measures._warped_maps import MapWarp, inside, map_matrix
from capsbench.metrics.invariance import invariance_error
from capsbench.models._geometry import LayerWindow, stride_and_offset
from capsbench.representations import SpatialMap
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.joint import JointView
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp


def random(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_view(**factors):
    view = Views.identity(1)
    if "tilt" in factors:
        view = replace(view, tilt=torch.zeros_like(view.shift))
    for name, value in factors.items():
        getattr(view, name)[0] = torch.tensor(value, dtype=torch.float64)
    return view


def transform(images, view):
    return warp(images, view.matrices(*images.shape[-2:]))


def warp_of(maps, view, image_size, **geometry):
    return MapWarp.of(view, tuple(maps.shape[-2:]), image_size, **geometry)


def of_a_grid(view):
    """Return a view of one or two factors as one of a grid."""
    values = {"rotation": view.rotation, "shift_x": view.shift[:, 0], "shift_y": view.shift[:, 1]}
    if view.tilt is not None:
        values |= {"tilt_x": view.tilt[:, 0], "tilt_y": view.tilt[:, 1]}
    first, *others = (GridView(name, value.item()) for name, value in values.items() if value)
    return JointView((first, others[0])) if others else first


def spatial_error(maps_x, maps_gx, view, image_size, *, margin=0, stride=1.0, offset=0.0):
    """Return the invariance error of moved maps; the margin is in positions."""
    layers = {"map": LayerOfInterest("map", "map", stride=stride, offset=offset)}
    transforms = LayerTransforms(layers, {"map": SpatialMap()}, image_size, margin * stride)
    return invariance_error(*transforms.pair(of_a_grid(view), "map", maps_x, maps_gx))


def interpolation_error(maps_x, view, image_size, **geometry):
    """Return the invariance error of maps that are warped and warped back."""
    return invariance_error(*warp_of(maps_x, view, image_size, **geometry).round_trip(maps_x))


def test_a_circular_convolution_is_equivariant_to_rolling():
    torch.manual_seed(0)
    body = nn.Conv2d(1, 3, 3, padding=1, padding_mode="circular")
    images = random(12, 1, 9, 9).float()
    with torch.no_grad():
        f_x, f_gx = body(images), body(images.roll((2, 3), (2, 3)))
    assert invariance_error(f_x.roll((2, 3), (2, 3)), f_gx).error < 1e-6
    assert invariance_error(f_x, f_gx).error > 0.5


def test_zero_padding_breaks_equivariance_at_the_border_only():
    images, kernel = random(12, 1, 16, 16) + 2, random(3, 1, 5, 5, seed=1)
    view = one_view(shift=(3.0, -2.0))
    f_x, f_gx = (conv2d(each, kernel, padding=2) for each in (images, transform(images, view)))
    within = spatial_error(f_x, f_gx, view, (16, 16), margin=2)
    assert within.error < 1e-14
    assert within.spread > 1
    assert spatial_error(f_x, f_gx, view, (16, 16), margin=1).error > 0.01


def test_strides_and_offsets_of_stacked_layers():
    """A network of kernels symmetric under quarter turns is equivariant to them."""
    images = random(
        10, 1, 19, 19
    )  # the last map's positions have their centres at pixels 5, 9 and 13
    kernels = [random(4, 1, 3, 3, seed=1), random(2, 4, 5, 5, seed=2)]
    symmetric = [sum(k.rot90(turn, (2, 3)) for turn in range(4)) for k in kernels]

    def network(x):
        return conv2d(conv2d(x, symmetric[0], stride=2).relu(), symmetric[1], stride=2)

    stride, offset = stride_and_offset([LayerWindow(3, stride=2), LayerWindow(5, stride=2)])
    view = one_view(rotation=90.0)
    arguments = (network(images), network(transform(images, view)), view, (19, 19))
    assert spatial_error(*arguments, stride=stride, offset=offset).error < 1e-14
    assert spatial_error(*arguments, stride=stride, offset=offset - 1).error > 0.1


def test_a_shift_by_one_stride_moves_maps_by_one_place():
    images, kernel = random(8, 2, 17, 17), random(3, 2, 3, 3, seed=1)
    view = one_view(shift=(-3.0, 0.0))
    f_x, f_gx = (conv2d(each, kernel, stride=3) for each in (images, transform(images, view)))
    distances = spatial_error(f_x, f_gx, view, (17, 17), stride=3, offset=1)
    assert distances.error < 1e-14
    # A shift by less than a stride is no shift of positions (article, section 2).
    less = one_view(shift=(-1.0, 0.0))
    other = conv2d(transform(images, less), kernel, stride=3)
    assert spatial_error(f_x, other, less, (17, 17), stride=3, offset=1).error > 0.5


@pytest.mark.parametrize("tilt", [{}, {"tilt": (30.0, -50.0)}], ids=["affine", "tilted"])
@pytest.mark.parametrize(("stride", "offset"), [(1, 0), (2, 0.5), (3, 4), (7, 2.5)])
def test_places_move_as_the_pixels_at_their_centres(stride, offset, tilt):
    view = one_view(rotation=33.0, shift=(1.5, -4.0), scale=(1.2, 0.9), shear=10.0, **tilt)
    matrix, ours = view.matrices(30, 21)[0], map_matrix(view, (30, 21), stride, offset)[0]
    for place in ([0.0, 0.0], [3.0, 1.0], [2.0, 5.0]):
        pixel = [stride * q + offset for q in place]
        moved = matrix @ torch.tensor([*pixel, 1.0], dtype=torch.float64)
        expected = (moved[:2] / moved[2] - offset) / stride
        image = ours @ torch.tensor([*place, 1.0], dtype=torch.float64)
        torch.testing.assert_close(image[:2] / image[2], expected)
    whole = map_matrix(one_view(rotation=90.0, shift=(7.0 * stride, 0.0)), (21, 21), stride, offset)
    assert torch.equal(whole[:, :2, :2], whole[:, :2, :2].round())


def bilinear(values, x, y):
    """Return values (H, W) at a point, with zeros outside."""
    height, width = values.shape
    result = 0.0
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < height and 0 <= column < width:
                weight = (1 - abs(row - y)) * (1 - abs(column - x))
                result += weight * values[row, column].item()
    return result


@pytest.mark.parametrize(
    "view",
    [{"rotation": 20.0}, {"tilt": (25.0, 0.0)}, {"tilt": (-15.0, 35.0)}],
    ids=["rotation", "tilt", "tilts"],
)
def test_against_loops_over_places_and_pairs(view):
    maps_x, maps_gx, view = random(4, 2, 5, 6), random(4, 2, 5, 6, seed=1), one_view(**view)
    distances = spatial_error(maps_x, maps_gx, view, (12, 14), stride=2, offset=1.5, margin=1)
    back = np.linalg.inv(view.matrices(12, 14)[0].numpy())
    moved: list[list[float]] = [[] for _ in range(4)]
    there: list[list[float]] = [[] for _ in range(4)]
    for row in range(5):
        for column in range(6):
            x, y, depth = back @ [2 * column + 1.5, 2 * row + 1.5, 1]
            x, y = (x / depth - 1.5) / 2, (y / depth - 1.5) / 2
            if not all(1 <= a <= 4 and 1 <= b <= 3 for a, b in ((column, row), (x, y))):
                continue
            for n in range(4):
                moved[n] += [bilinear(maps_x[n, c], x, y) for c in range(2)]
                there[n] += [maps_gx[n, c, row, column].item() for c in range(2)]
    a, b = np.array(moved), np.array(there)
    assert 4 < a.shape[1] < 60
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    spreads = [np.mean([np.sum((f[i] - f[j]) ** 2) for i, j in pairs]) for f in (a, b)]
    expected = np.sqrt(np.mean(np.sum((b - a) ** 2, axis=1)) / np.sqrt(np.prod(spreads)))
    assert distances.error.item() == pytest.approx(expected, rel=1e-9)


def test_places_whose_source_lies_outside_are_left_out():
    shifted = inside(map_matrix(one_view(shift=(2.0, 0.0)), (4, 6), 1, 0), (4, 6))
    assert shifted.sum(dim=0).tolist() == [0, 0, 4, 4, 4, 4]
    quarter = map_matrix(one_view(rotation=90.0), (5, 5), 1, 0)
    assert inside(quarter, (5, 5)).all()
    assert inside(quarter, (5, 5), margin=1).sum() == 9


@pytest.mark.parametrize("degrees", [-75.0, 75.0])
def test_a_steep_tilt_leaves_out_the_places_beyond_its_horizon(degrees):
    view = one_view(tilt=(degrees, 0.0))
    maps = 2 + torch.sin(torch.arange(32).double() / 8).expand(6, 1, 32, 32) * random(6, 1, 1, 1)
    warp_of_maps = warp_of(maps, view, (32, 32))
    far = slice(24, 32) if degrees > 0 else slice(0, 8)  # sky, seen below or above the plane
    assert not warp_of_maps.positions[far].any()
    assert warp_of_maps.positions[14:18, 12:20].all()
    # There and back: the places that are known return, the smooth map with a small error.
    assert warp_of_maps.round_trip_positions.sum() > 100
    there, returned = warp_of_maps.round_trip(maps)
    assert (returned - there).abs().max() < 0.05


def test_interpolation_error_of_smooth_and_rough_maps():
    smooth = torch.sin(torch.arange(12) / 3 + random(9, 1, 1, 1) * 3).expand(-1, -1, 12, -1)
    rough = random(9, 1, 12, 12)
    turn = one_view(rotation=30.0)
    assert interpolation_error(smooth, turn, (12, 12)).error < 0.1
    assert interpolation_error(rough, turn, (12, 12)).error > 0.5
    assert interpolation_error(rough, one_view(rotation=90.0), (12, 12)).error == 0
    assert interpolation_error(rough, one_view(shift=(1.0, 0.0)), (24, 24), stride=2).error > 0.5
    # An equivariant map sampled at every other pixel: its error is half of the round trip's.
    waves = torch.sin(torch.arange(32) / 2 + random(9, 1, 1, 1) * 3).expand(-1, -1, 32, -1)
    view = one_view(shift=(1.0, 0.0))
    coarse, moved = waves[..., 1::2, 1::2], waves[..., 1::2, 0::2]
    arguments = (view, (32, 32))
    error = spatial_error(coarse, moved, *arguments, stride=2, offset=1).error
    back_and_forth = interpolation_error(coarse, *arguments, stride=2, offset=1).error
    assert error.item() == pytest.approx(back_and_forth.item() / 2, rel=0.05)
    assert error > 0.05


def test_constant_maps_and_views_without_places_are_undefined():
    constant = torch.ones(5, 2, 6, 6)
    view = one_view(shift=(1.0, 0.0))
    assert torch.isnan(spatial_error(constant, constant, view, (6, 6)).error)
    away = one_view(shift=(6.0, 0.0))
    maps = random(5, 2, 6, 6)
    assert torch.isnan(spatial_error(maps, maps, away, (6, 6)).error)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (Views.identity(2), "got 2 views"),
        (replace(Views.identity(1), window=torch.ones(1, 2)), "of a part"),
        (Views.of_grid([GridView("contrast", 0.5)]), "with brightness or contrast"),
    ],
    ids=["several", "part", "light"],
)
def test_views_that_move_no_map_are_refused(view, message):
    with pytest.raises(UserError, match=message):
        MapWarp.of(view, (4, 4), (4, 4))
