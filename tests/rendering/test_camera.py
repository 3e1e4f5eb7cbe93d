"""Conventions of elevation, azimuth, distance and eyes."""

import pytest
import torch

from capsbench.errors import UserError
from capsbench.rendering.camera import DISTANCE, pinhole, stage, turn
from capsbench.rendering.render import render
from capsbench.rendering.scene import scene
from tests.rendering.made import numbers, parts, random_parts


def masks_of(made, elevation=40.0, azimuth=0.0, distance=1.0, **options):
    """Render the masks (C, H, W) of one object."""
    lighting = torch.tensor([[4]])
    view = (numbers(elevation), numbers(azimuth), numbers(distance))
    return render(made, *view, lighting, **options).masks[0]


def middle(mask):
    """Return (x, y) of a mask's middle, pixels from the image's centre."""
    y, x = mask.nonzero().double().mean(0) - (len(mask) - 1) / 2
    return float(x), float(y)


def ball(*position):
    return parts([("ellipsoid", position, (0.12, 0.12, 0.12))])


def test_the_front_of_an_object_of_azimuth_zero_is_near_and_turns_to_the_right():
    nose = ball(1.0, 0.0, 0.0)
    x, y = middle(masks_of(nose)[0])
    assert x == pytest.approx(0, abs=0.3) and y > 5, "toward the camera is down in the image"
    across = [middle(masks_of(nose, azimuth=azimuth)[0])[0] for azimuth in (0, 20, 40, 60, 90)]
    assert across == sorted(across) and across[-1] > 12
    assert middle(masks_of(nose, azimuth=180)[0])[1] < -5
    # The left side of an object that faces the camera is at the right of the image.
    assert middle(masks_of(ball(0.0, 1.0, 0.0))[0])[0] > 12


def test_elevation_is_the_camera_above_the_horizon():
    top, front = ball(0.0, 0.0, 1.0), ball(1.0, 0.0, 0.0)
    heights = [middle(masks_of(top, elevation=angle)[0])[1] for angle in (1, 30, 60, 90)]
    assert heights == sorted(heights) and heights[0] < -15
    assert heights[-1] == pytest.approx(0, abs=0.3)
    drops = [middle(masks_of(front, elevation=angle)[0])[1] for angle in (1, 30, 60, 90)]
    assert drops == sorted(drops) and drops[-1] > 15


@pytest.mark.parametrize("distance", [0.5, 0.8, 1.25, 2.0])
def test_size_in_the_image_is_inversely_proportional_to_the_distance(distance):
    ground = stage(numbers(30.0), numbers(distance), torch.zeros(1, 3).double())
    across = numbers(0.0, 0.25, 0.0, 0.0, -0.25, 0.0).view(1, 2, 3)
    left, right = pinhole(ground, 48).project(across)[0]
    near = pinhole(stage(numbers(30.0), numbers(1.0), torch.zeros(1, 3).double()), 48)
    other = near.project(across)[0]
    assert float(left[0] - right[0]) == pytest.approx(float(other[0, 0] - other[1, 0]) / distance)
    big = parts([("ellipsoid", (0, 0, 0), (0.45, 0.45, 0.45))])
    areas = [masks_of(big, distance=d, size=96)[0].sum().item() for d in (1.0, distance)]
    assert areas[1] == pytest.approx(areas[0] / distance**2, rel=0.05)


def test_projected_centres_are_the_middles_of_the_masks():
    for position in [(0.5, -0.3, 0.2), (-0.4, 0.6, 0.5), (0.0, 0.0, 0.9)]:
        made = ball(*position)
        exact = scene(made, numbers(35.0), numbers(130.0), numbers(1.0))
        camera = pinhole(exact.poses[:, 1], 96)
        x, y = camera.project(torch.zeros(1, 1, 3).double())[0, 0] - 47.5
        assert middle(masks_of(made, 35.0, 130.0, size=96)[0]) == pytest.approx(
            (float(x), float(y)), abs=0.4
        )


def test_the_camera_is_directed_at_the_centre_which_turns_with_the_object():
    made = parts([("ellipsoid", (0.3, 0.2, 0.5), (0.2, 0.2, 0.2))], centre=(0.3, 0.2, 0.5))
    for azimuth in (0.0, 70.0, 200.0):
        assert middle(masks_of(made, azimuth=azimuth)[0]) == pytest.approx((0, 0), abs=0.3)


def test_the_left_eye_is_the_first_channel():
    near, far = ball(1.0, 0.0, 0.0), ball(-1.0, 0.0, 0.0)
    left, right = (middle(mask)[0] for mask in masks_of(near, stereo=True, size=96))
    assert left > right + 1, "a near point is further to the right for the left eye"
    left, right = (middle(mask)[0] for mask in masks_of(far, stereo=True, size=96))
    assert left < right - 1
    left, right = (middle(mask) for mask in masks_of(ball(0.0, 0.0, 0.0), stereo=True, size=96))
    assert left == pytest.approx(right, abs=0.1), "both eyes are directed at the centre"


def test_poses_are_exact():
    made = random_parts(3)
    elevation, azimuth, distance = numbers(30, 50, 70), numbers(0, 100, 340), numbers(1, 1.3, 0.8)
    exact = scene(made, elevation, azimuth, distance)
    whole, of_parts = exact.poses[:, 0], exact.poses[:, 1:]
    torch.testing.assert_close(of_parts, whole[:, None] @ made.poses)
    assert (of_parts[made.shapes < 0] == 0).all()
    torch.testing.assert_close(
        whole[:, :3, :3] @ whole[:, :3, :3].mT, torch.eye(3).double().expand(3, 3, 3)
    )
    torch.testing.assert_close(torch.linalg.det(whole[:, :3, :3]), torch.ones(3).double())
    centre = (whole @ torch.cat([made.centres, torch.ones(3, 1)], 1)[..., None])[:, :3, 0]
    expected = torch.stack([torch.zeros(3), torch.zeros(3), DISTANCE * distance], 1)
    torch.testing.assert_close(centre, expected.double(), atol=1e-9, rtol=0)


def test_a_change_of_azimuth_turns_the_objects_pose_about_the_vertical():
    made = random_parts(1)
    made.centres[:, :2].zero_()
    before, after = (
        scene(made, numbers(40.0), numbers(azimuth), numbers(1.0)) for azimuth in (20.0, 75.0)
    )
    torch.testing.assert_close(after.poses[:, 0], before.poses[:, 0] @ turn("z", numbers(55.0)))
    assert torch.equal(after.stage, before.stage)


def test_turn_is_right_handed():
    x, y, z, _ = torch.eye(4).double()
    for axis, start, end in (("z", x, y), ("x", y, z), ("y", z, x)):
        torch.testing.assert_close(turn(axis, torch.tensor(90.0)) @ start, end)


@pytest.mark.parametrize("elevation", [0.0, -10.0, 91.0, float("nan")], ids=str)
def test_elevations_out_of_range_are_refused(elevation):
    with pytest.raises(UserError, match="elevation"):
        stage(numbers(40.0, elevation), numbers(1.0, 1.0), torch.zeros(2, 3).double())


@pytest.mark.parametrize("distance", [0.0, -1.0, 0.2, float("inf"), float("nan")], ids=str)
def test_distances_out_of_range_are_refused(distance):
    with pytest.raises(UserError, match=r"distance of at least 0\.25"):
        stage(numbers(40.0), numbers(distance), torch.zeros(1, 3).double())
