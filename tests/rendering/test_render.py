"""Images: light, shadow, bounds, and independence of everything but the scene."""

import pytest
import torch

from capsbench.rendering import render as module
from capsbench.rendering.camera import pinhole, turn
from capsbench.rendering.lighting import LAMPS, LIGHTINGS
from capsbench.rendering.primitives import NO_PART
from capsbench.rendering.render import render, render_scene
from capsbench.rendering.scene import scene
from tests.rendering.made import numbers, parts, random_parts

BALL = parts([("ellipsoid", (0, 0, 0.6), (0.6, 0.6, 0.6))], centre=(0.0, 0.0, 0.6))
VIEW = (numbers(40.0), numbers(0.0), numbers(1.0))
ALL = torch.arange(len(LIGHTINGS))[None]


@pytest.fixture
def several():
    """Make objects, views and lightings for `render`."""
    made = random_parts(6)
    view = numbers(30, 35, 45, 50, 60, 70), numbers(0, 20, 100, 180, 260, 340), torch.ones(6)
    return made, *view, ALL.expand(6, -1)


@pytest.mark.parametrize("size", [17, 48])
def test_images_are_bounded_and_the_same_twice(several, size):
    first = render(*several, size=size)
    assert first.images.shape == (6, len(LIGHTINGS), 1, size, size)
    assert first.images.isfinite().all()
    assert first.images.min() >= 0 and first.images.max() <= 1
    assert all(
        torch.equal(one, other)
        for one, other in zip(first, render(*several, size=size), strict=True)
    )


def test_an_image_does_not_depend_on_the_others_nor_on_the_chunk(several, monkeypatch):
    made, *view, lighting = several
    together = render(*several)
    for row in range(6):
        one = torch.tensor([row])
        elevation, azimuth, distance = (factor[one] for factor in view)
        alone = render(made.rows(one), elevation, azimuth, distance, lighting[one][:, 2:3])
        assert torch.equal(alone.images[0, 0], together.images[row, 2])
        assert torch.equal(alone.parts[0], together.parts[row])
    monkeypatch.setattr(module, "CHUNK", 4 * 96**2)
    assert torch.equal(render(*several).images, together.images)


def test_poses_alone_give_the_image(several):
    made, *view, lighting = several
    exact = scene(made, *view)
    rendered = render_scene(exact, lighting)
    assert torch.equal(rendered.images, render(*several).images)
    # The object turned about its vertical in camera coordinates is the object of another azimuth.
    made.centres[:, :2] = 0
    exact = scene(made, *view)
    turned = exact.poses[:, :1] @ turn("z", numbers(30.0))
    poses = torch.cat([turned, turned @ made.poses], 1)
    elevation, azimuth, distance = view
    expected = render(made, elevation, azimuth + 30, distance, lighting)
    torch.testing.assert_close(
        render_scene(exact._replace(poses=poses), lighting).images,
        expected.images,
        atol=1e-3,
        rtol=0,
    )


def test_masks_and_parts_mark_the_visible_parts():
    made = parts(
        [("box", (0, -0.5, 0.3), (0.3, 0.3, 0.3)), ("ellipsoid", (0, 0.5, 0.3), (0.3, 0.3, 0.3))],
        slots=3,
    )
    result = render(made, *VIEW, torch.tensor([[4]]))
    assert result.masks.dtype == torch.bool
    assert torch.equal(result.masks, result.parts != NO_PART)
    assert set(result.parts[0, 0, :, :24].unique().tolist()) == {NO_PART, 0}
    assert set(result.parts[0, 0, :, 24:].unique().tolist()) == {NO_PART, 1}


def test_supersampling_averages():
    fine = render(BALL, *VIEW, ALL, size=48, samples=1).images
    coarse = render(BALL, *VIEW, ALL, size=24, samples=2)
    inside = torch.nn.functional.max_pool2d((~coarse.masks).float(), 3, 1, 1) == 0
    averaged = torch.nn.functional.avg_pool2d(fine[:, :, 0], 2)
    difference = (averaged - coarse.images[:, :, 0]).abs() * inside
    assert inside.sum() > 50
    assert difference.max() < 1e-5


def test_lamps_light_their_own_side_and_cast_shadows_on_the_other():
    result = render(BALL, *VIEW, ALL)
    images, mask = result.images[0, :, 0], result.masks[0, 0]
    halves = torch.zeros(2, 48, 48, dtype=torch.bool)
    halves[0, :, :24], halves[1, :, 24:] = True, True
    left, right = (torch.stack([image[half & mask].mean() for image in images]) for half in halves)
    assert left[0] > right[0] + 0.1
    assert right[1] > left[1] + 0.1
    assert (left[2] - right[2]).abs() < 0.05
    dark, bright = (
        torch.stack([image[half & ~mask].mean() for image in images]) for half in halves.flip(0)
    )
    assert bright[0] > dark[0] + 0.02 and dark[1] > bright[1] + 0.02
    # All six differ, and the last one is dim.
    differences = (images[:, None] - images[None]).abs().mean((2, 3)) + torch.eye(6)
    assert differences.min() > 0.02
    assert images.mean((1, 2)).argmin() == 5


def test_a_turned_ellipsoid_is_shaded_by_lamberts_law():
    """Compare with the gradient of the implicit function in stage coordinates."""
    half = numbers(0.8, 0.25, 0.5)
    rotation = (turn("x", numbers(35.0)) @ turn("z", numbers(50.0)))[0, :3, :3]
    made = parts([("ellipsoid", (0, 0, 0.8), half.tolist(), rotation)], centre=(0.0, 0.0, 0.8))
    exact = scene(made, *VIEW)
    result = render_scene(exact, ALL, size=48, samples=1)
    to_stage = exact.stage[0].inverse()
    form = rotation @ torch.diag(half**-2) @ rotation.T
    eye = to_stage[:3, 3]
    centre = numbers(0.0, 0.0, 0.8)
    towards = torch.tensor(LAMPS).double()
    towards = towards / towards.norm(dim=1, keepdim=True)
    lens = pinhole(exact.stage, 48).intrinsics[0, :3, :3].inverse()
    inside = result.masks[0, 0].nonzero()[::7].tolist()
    assert len(inside) > 20
    for y, x in inside:
        ray = to_stage[:3, :3] @ lens @ numbers(x, y, 1)
        a, b, c = (
            ray @ form @ ray,
            ray @ form @ (eye - centre),
            (eye - centre) @ form @ (eye - centre),
        )
        point = eye + ray * (-b - (b * b - a * (c - 1)).sqrt()) / a
        normal = form @ (point - centre)
        normal = normal / normal.norm()
        strength = torch.cat([(towards @ normal).clamp_min(0), (0.5 + 0.5 * normal[2:])])
        expected = 0.6 * torch.tensor(LIGHTINGS).double() @ strength
        torch.testing.assert_close(
            result.images[0, :, 0, y, x].double(), expected, atol=1e-4, rtol=0
        )


def test_the_top_of_a_box_has_the_brightness_of_lamberts_law():
    made = parts([("box", (0, 0, 0.3), (0.8, 0.8, 0.3))], centre=(0.0, 0.0, 0.6))
    image = render(made, numbers(90.0), *VIEW[1:], torch.tensor([[0]])).images[0, 0, 0]
    lamp, sky = LIGHTINGS[0][0], LIGHTINGS[0][4]
    cosine = 7.0 / (2.0**2 + 4.5**2 + 7.0**2) ** 0.5
    assert float(image[24, 24]) == pytest.approx(0.6 * (lamp * cosine + sky), rel=1e-5)


def test_without_an_object_the_ground_is_uniform():
    images = render(parts([], slots=2), *VIEW, ALL).images
    assert (images == images[..., :1, :1]).all()
    assert images.min() > 0.3 and images.max() < 1


def test_a_shadow_touches_the_foot_of_a_standing_object():
    post = parts([("cylinder", (0, 0, 0.5), (0.1, 0.1, 0.5))], centre=(0.0, 0.0, 0.5))
    result = render(post, *VIEW, torch.tensor([[0]]), size=96)
    image, mask = result.images[0, 0, 0], result.masks[0, 0]
    dark = (image < image.max() - 0.1) & ~mask
    rows, columns = mask.nonzero(as_tuple=True)
    foot = int(rows.max())
    assert dark[foot - 6 : foot, int(columns.max()) + 1].any()
    lifted = parts([("cylinder", (0, 0, 0.9), (0.1, 0.1, 0.5))], centre=(0.0, 0.0, 0.5))
    above = render(lifted, *VIEW, torch.tensor([[0]]), size=96)
    away = (above.images[0, 0, 0] < image.max() - 0.1) & ~above.masks[0, 0]
    rows, columns = above.masks[0, 0].nonzero(as_tuple=True)
    assert not away[int(rows.max()) - 6 : int(rows.max()), int(columns.max()) + 1].any()


def test_above_the_horizon_there_is_no_shadow():
    result = render(BALL, numbers(3.0), *VIEW[1:], torch.tensor([[2]]))
    sky = result.images[0, 0, 0, :6]
    assert (sky == sky[0, 0]).all()
