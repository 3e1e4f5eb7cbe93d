"""Tilts, checked against a projected textured plane in double precision."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kornia.geometry.camera import PinholeCamera
from kornia.geometry.conversions import axis_angle_to_rotation_matrix

from capsbench.data.randomness import draw_views, generator
from capsbench.errors import UserError
from capsbench.viewpoint.grid import GridView, ViewGrid
from capsbench.viewpoint.limits import CAMERA_DISTANCE, FIELD_OF_VIEW
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.render import render
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import unwarp, warp


def one_view(**factors):
    view = Views.identity(1)
    tilt = torch.tensor([factors.pop("tilt", (0.0, 0.0))], dtype=torch.float64)
    for name, value in factors.items():
        getattr(view, name)[0] = torch.tensor(value, dtype=torch.float64)
    return Views(**{**vars(view), "tilt": tilt})


def texture(u, v):
    """A smooth picture over the plane, u to the right and v upwards in pixels from its centre."""
    return 0.5 + 0.2 * np.sin(u / 3 + 0.4) * np.cos(v / 4) + 0.2 * np.cos((u + 2 * v) / 7)


def photograph(side, tilt_x, tilt_y):
    """Photograph the plane: cast a ray through every pixel and intersect it with the plane.

    World axes are x right, y up and z towards the viewer, so that both turns and the rotation of an
    image follow the right-hand rule. The camera stands on the z axis and looks at the origin.
    """
    a, b = np.deg2rad([tilt_x, tilt_y])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    turn = about_y @ about_x
    distance = side / 2 / np.tan(np.deg2rad(FIELD_OF_VIEW / 2))
    camera = np.array([0, 0, distance])
    image = np.zeros((side, side))
    for row in range(side):
        for column in range(side):
            ray = np.array([column - (side - 1) / 2, (side - 1) / 2 - row, -distance])
            normal = turn[:, 2]
            reach = -(normal @ camera) / (normal @ ray)
            u, v, height = turn.T @ (camera + reach * ray)
            assert abs(height) < 1e-9
            if reach > 0 and max(abs(u), abs(v)) <= (side - 1) / 2:
                image[row, column] = texture(u, v)
    return image


@given(st.floats(-70, 70), st.floats(-70, 70))
@settings(max_examples=12, deadline=None)
def test_a_tilted_image_is_a_photograph_of_the_tilted_plane(tilt_x, tilt_y):
    side = 33
    at = np.arange(side) - (side - 1) / 2
    picture = torch.from_numpy(texture(at[None, :], -at[:, None]))[None, None]
    ours = warp(picture, one_view(tilt=(tilt_x, tilt_y)).matrices(side, side))[0, 0].numpy()
    theirs = photograph(side, tilt_x, tilt_y)
    inside = theirs > 0
    assert inside.sum() > 20
    # Bilinear interpolation of the texture is off by its curvature; a wrong sign by tenths.
    assert np.abs(ours - theirs)[inside].max() < 0.02
    # Outside of the plane there is nothing but the last pixel, which fades into zeros.
    assert (ours[~inside] > 0).sum() <= 4 * side


def test_positive_tilts_bring_the_upper_edge_nearer_and_move_the_right_edge_away():
    frame = torch.zeros(1, 1, 41, 41)
    frame[..., 10:31, 10:31] = 1
    leaning = warp(frame, one_view(tilt=(40.0, 0.0)).matrices(41, 41))[0, 0]
    assert leaning[16].sum() > leaning[20].sum() > leaning[24].sum()
    turned = warp(frame, one_view(tilt=(0.0, 40.0)).matrices(41, 41))[0, 0]
    assert turned[:, 16].sum() > turned[:, 20].sum() > turned[:, 24].sum()


@given(st.floats(-60, 60), st.floats(-60, 60), st.floats(-180, 180), st.floats(0.5, 1.2))
@settings(max_examples=30, deadline=None)
def test_matrices_agree_with_a_camera_of_kornia(tilt_x, tilt_y, rotation, scale):
    height, width = 20, 31
    view = one_view(
        tilt=(tilt_x, tilt_y), rotation=rotation, scale=(scale, scale), shift=(2.0, -1.5)
    )
    matrix = view.matrices(height, width)[0]
    focal = CAMERA_DISTANCE * width / 2
    intrinsics = torch.eye(4, dtype=torch.float64)[None]
    intrinsics[0, 0, 0] = intrinsics[0, 1, 1] = focal
    intrinsics[0, 0, 2], intrinsics[0, 1, 2] = (width - 1) / 2, (height - 1) / 2
    # In the camera's frame y points down and z away: turns about x keep their sign, others change.
    angles = torch.deg2rad(torch.tensor([[tilt_x, 0, 0], [0, -tilt_y, 0], [0, 0, -rotation]]))
    about_x, about_y, about_z = axis_angle_to_rotation_matrix(angles.double())
    extrinsics = torch.eye(4, dtype=torch.float64)[None]
    extrinsics[0, :3, :3] = about_y @ about_x @ about_z
    extrinsics[0, 2, 3] = focal
    size = torch.tensor([height]), torch.tensor([width])
    camera = PinholeCamera(intrinsics, extrinsics, *size)
    corners = torch.tensor([[0.0, 0], [30, 0], [0, 19], [30, 19], [11, 4]], dtype=torch.float64)
    centre = torch.tensor([15.0, 9.5], dtype=torch.float64)
    plane = torch.cat([scale * (corners - centre), torch.zeros(5, 1, dtype=torch.float64)], dim=1)
    projected = camera.project(plane[None])[0] + torch.tensor([2.0, -1.5], dtype=torch.float64)
    ours = torch.cat([corners, torch.ones(5, 1, dtype=torch.float64)], dim=1) @ matrix.T
    torch.testing.assert_close(ours[:, :2] / ours[:, 2:], projected, atol=1e-4, rtol=0)


def test_a_tilt_is_undone_even_if_its_horizon_is_in_the_picture():
    at = np.arange(24) - 11.5
    smooth = torch.from_numpy(0.5 + 0.01 * (at[None, :] + 2 * at[:, None]))[None, None]
    matrix = one_view(tilt=(75.0, 0.0)).matrices(24, 24)
    back = unwarp(warp(smooth, matrix), matrix)
    assert (back - smooth)[..., 4:14, 6:18].abs().max() < 0.03
    with pytest.raises(UserError, match="behind the camera"):
        warp(smooth, torch.linalg.inv(matrix))


def test_the_inverse_of_a_tilt_undoes_it():
    at = np.arange(24) - 11.5
    smooth = torch.from_numpy(texture(at[None, :], at[:, None]))[None, None]
    matrix = one_view(tilt=(35.0, -20.0)).matrices(24, 24)
    back = warp(warp(smooth, matrix), torch.linalg.inv(matrix))
    assert (back - smooth)[..., 6:18, 6:18].abs().max() < 0.03
    torch.testing.assert_close(unwarp(warp(smooth, matrix), matrix), back)
    composed = warp(smooth, torch.linalg.inv(matrix) @ matrix)
    torch.testing.assert_close(composed, smooth)


def test_no_tilt_is_the_plain_warp_bit_for_bit():
    images = torch.rand(2, 1, 28, 28)
    for factors in ({"rotation": 90.0}, {"rotation": 20.0, "shift": (1.5, 2.0)}, {"scale": (2, 2)}):
        plain, tilted = Views.identity(1), one_view(**factors)
        for name, value in factors.items():
            getattr(plain, name)[0] = torch.tensor(value, dtype=torch.float64)
        torch.testing.assert_close(tilted.matrices(28, 28), plain.matrices(28, 28))
    quarter = one_view(rotation=90.0).matrices(28, 28)
    assert torch.equal(warp(images, quarter), torch.rot90(images, 1, (2, 3)))


def test_tilted_and_other_views_share_a_batch():
    images = torch.rand(3, 1, 28, 28)
    views = Views.of_grid(
        [GridView("rotation", 90), GridView("tilt_x", 30), GridView("tilt_y", -50)]
    )
    assert views.tilt is not None
    assert views.tilt.tolist() == [[0, 0], [30, 0], [0, -50]]
    together = warp(images, views.matrices(28, 28))
    assert torch.equal(together[0], torch.rot90(images[0], 1, (1, 2)))
    alone = [warp(images[i : i + 1], views[i : i + 1].matrices(28, 28)) for i in range(4)]
    assert torch.equal(together, torch.cat(alone))


def test_bytes_and_a_smaller_output_show_the_middle_of_the_same_picture():
    images = torch.randint(256, (2, 1, 40, 40), dtype=torch.uint8)
    views = one_view(tilt=(25.0, 40.0), rotation=15.0)
    whole = render(images, views, (40, 40))
    middle = render(images, views, (28, 28))
    torch.testing.assert_close(middle, whole[..., 6:34, 6:34], atol=1e-4, rtol=0)


def test_a_stream_of_its_own_leaves_the_other_draws_as_they_are():
    flat = ViewRange(rotation=(-30, 30), shift=(-2, 2), scale=(0.8, 1.1), brightness=(0, 0.2))
    tilted = flat.model_copy(
        update={"tilt_x": ViewRange(tilt_x=(-40, 40)).tilt_x, "tilt_y": ViewRange(tilt_y=9).tilt_y}
    )
    before, after = (draw_views(ranges, 50, 3, "views", 7) for ranges in (flat, tilted))
    assert before.tilt is None
    for name, values in vars(before).items():
        if values is not None:
            assert torch.equal(values, getattr(after, name))
    again = Views.draw(flat, 50, generator(3, "views", 7))
    assert torch.equal(again.rotation, after.rotation)
    assert after.tilt is not None
    assert (after.tilt[:, 1] == 9).all()
    assert after.tilt[:, 0].abs().max() <= 40
    assert after.tilt[:, 0].unique().numel() == 50
    # A view depends neither on the number of views nor on the other tilt.
    fewer = draw_views(ViewRange(tilt_x=(-40, 40), tilt_y=(-5, 5)), 10, 3, "views", 7)
    assert fewer.tilt is not None
    assert torch.equal(fewer.tilt[:, 0], after.tilt[:10, 0])
    with pytest.raises(ValueError, match="generator of their own"):
        Views.draw(tilted, 5, generator(0))


@pytest.mark.parametrize("factor", ["tilt_x", "tilt_y"])
def test_a_tilt_stays_below_a_right_angle(factor):
    with pytest.raises(UserError, match=f"{factor} must be between -90 and 90"):
        ViewRange(**{factor: (-90, 0)})
    with pytest.raises(ValueError, match=f"{factor} must be between -90 and 90"):
        ViewGrid(**{factor: {"start": 0, "stop": 90, "step": 30}})


@given(
    st.floats(0, 89), st.floats(0, 89), st.floats(0.1, 4), st.floats(0, 60), st.floats(-180, 180)
)
@settings(max_examples=200, deadline=None)
def test_a_range_that_is_accepted_never_turns_a_corner_behind_the_camera(
    tilt_x, tilt_y, scale, shear, rotation
):
    values = {"tilt_x": tilt_x, "tilt_y": tilt_y, "scale": scale, "shear": shear}
    try:
        ViewRange(**values, rotation=rotation)
    except UserError as error:
        assume("behind the camera" not in str(error))
        raise
    view = one_view(tilt=(tilt_x, tilt_y), scale=(scale, scale), shear=shear, rotation=rotation)
    for height, width in ((28, 28), (20, 31)):
        warp(torch.rand(1, 1, height, width), view.matrices(height, width))


def test_points_behind_the_camera_are_refused():
    with pytest.raises(UserError, match=r"up to 80 and 0 degrees at scale 1\.5 .* behind"):
        ViewRange(tilt_x=(-80, 80), scale=(0.5, 1.5))
    near = one_view(tilt=(80.0, 0.0), scale=(3.0, 3.0)).matrices(28, 28)
    with pytest.raises(UserError, match=r"1 of 2 views .* behind the camera"):
        warp(torch.rand(2, 1, 28, 28), torch.cat([near, torch.eye(3).double()[None]]))


@pytest.mark.parametrize(
    ("tilt", "edge"),
    [((75.0, 0.0), -1), ((-75.0, 0.0), 0), ((60.0, 45.0), -1), ((-60.0, -45.0), 0)],
)
def test_beyond_the_horizon_the_border_goes_on(tilt, edge):
    side = 28
    ramp = torch.linspace(0, 1, side)[:, None].expand(side, side)[None, None]
    matrix = one_view(tilt=tilt).matrices(side, side)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)]).double().flatten(1)
    beyond = (torch.linalg.inv(matrix[0]) @ pixels)[2].reshape(side, side) <= 0
    assert beyond.any()
    warped = warp(ramp, matrix, padding="border")[0, 0]
    # Towards the horizon the far edge is the nearest one, and so it is beyond.
    assert (warped[beyond] == ramp[0, 0, edge, 0]).all()
    assert warp(ramp, matrix)[0, 0][beyond].eq(0).all()


def test_a_part_is_judged_by_its_own_pixels():
    far = ViewRange(
        tilt_x=(-35, 35), part={"width": 8, "height": 8, "x": [-40, 40], "y": [-40, 40]}
    )
    images = torch.rand(300, 1, 28, 28)
    moved = render(images, draw_views(far, 300, 0, "views"), (28, 28))
    assert moved.isfinite().all()
    mask = torch.zeros(1, 1, 28, 28)
    mask[..., :4, :] = 1
    view = one_view(tilt=(85.0, 0.0), scale=(2.5, 2.5))
    with pytest.raises(UserError, match="behind the camera"):
        render(images[:1], view, (28, 28))
    # The upper rows are behind the camera, so that nothing of them is seen, not even upside down.
    assert torch.equal(render(images[:1], view, (28, 28), masks=mask), images[:1] * (1 - mask))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_coordinates_keep_their_precision_in_half_precision_and_under_autocast(dtype):
    images = torch.rand(2, 1, 96, 96)
    matrix = one_view(tilt=(30.0, 10.0), rotation=12.0).matrices(96, 96)
    expected = warp(images, matrix)
    half = warp(images.to(dtype), matrix)
    assert half.dtype == dtype
    assert (half.float() - expected).abs().max() < 0.01
    with torch.autocast("cpu", dtype=torch.bfloat16):
        view = one_view(tilt=(30.0, 10.0), rotation=12.0).to(images)
        assert torch.equal(warp(images, matrix), expected)
        torch.testing.assert_close(view.matrices(96, 96).double(), matrix, atol=1e-4, rtol=0)
