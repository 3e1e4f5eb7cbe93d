"""The transforming autoencoder: poses that transform, and learning."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.arguments import resolve
from capsbench.contracts import Batch, one_hot
from capsbench.errors import UserError
from capsbench.models._frames import to_pose_units, transform_poses
from capsbench.models.transforming_autoencoder import TransformingAutoencoder
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

RANGES = ViewRange(rotation=(-180, 180), shift=(-5, 5), scale=(0.5, 2), shear=(-30, 30))
SIZE = (12, 20)
both = pytest.mark.parametrize("transformation", ["shift", "affine"])


def build(transformation, **more):
    torch.manual_seed(0)
    sizes = {"capsules": 5, "recognition": 6, "generation": 7, **more}
    model = TransformingAutoencoder(
        image_shape=(2, *SIZE), num_classes=3, transformation=transformation, **sizes
    )
    return model.double().eval()


def draw(count=4, ranges=RANGES, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 2, *SIZE, generator=generator, dtype=torch.float64)
    return images, Views.draw(ranges, count, generator)


def batch_of(images):
    count = len(images)
    return Batch(images, torch.arange(count) % 3, Views.identity(count), torch.arange(count))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), size=st.tuples(st.integers(2, 40), st.integers(2, 40)))
def test_positions_and_frames_move_with_their_pixels(seed, size):
    """Compare in pixels: a point of the image, and its neighbours along both axes."""
    height, width = size
    generator = torch.Generator().manual_seed(seed)
    matrices = Views.draw(RANGES, 3, generator).matrices(height, width)
    frames = torch.randn(3, 2, 6, generator=generator, dtype=torch.float64)
    transforms = to_pose_units(matrices, height, width)
    moved = transform_poses(frames, transforms).unflatten(-1, (2, 3)).numpy()
    positions = transform_poses(frames[..., [2, 5]], transforms).numpy()

    centre, half = np.array([(width - 1) / 2, (height - 1) / 2]), max(size) / 2
    for image in range(3):
        for capsule in range(2):
            axes = frames[image, capsule].reshape(2, 3).numpy()
            points = centre + half * np.stack([axes[:, 2] + d for d in (0, axes[:, 0], axes[:, 1])])
            linear, offset = np.split(matrices[image].numpy()[:2], [2], axis=1)
            transformed = points @ linear.T + offset.T
            origin = (transformed[0] - centre) / half
            np.testing.assert_allclose(moved[image, capsule][:, 2], origin, atol=1e-9)
            np.testing.assert_allclose(positions[image, capsule], origin, atol=1e-9)
            directions = (transformed[1:] - transformed[0]).T / half
            np.testing.assert_allclose(moved[image, capsule][:, :2], directions, atol=1e-9)


TILTED = ViewRange(
    rotation=(-180, 180), scale=(0.6, 0.9), shift=(-3, 3), tilt_x=(-40, 40), tilt_y=(-40, 40)
)


def draw_tilted(count=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return Views.draw(TILTED, count, generator, generator)


@pytest.mark.parametrize("seed", range(3))
def test_frames_move_with_the_tilted_plane(seed):
    """Directions move by the differences of projected points, in pixels."""
    matrices = draw_tilted(2, seed).matrices(*SIZE)
    generator = torch.Generator().manual_seed(seed)
    frames = torch.rand(2, 3, 6, generator=generator, dtype=torch.float64) - 0.5
    transforms = to_pose_units(matrices, *SIZE)
    moved = transform_poses(frames, transforms).unflatten(-1, (2, 3)).numpy()
    positions = transform_poses(frames[..., [2, 5]], transforms).numpy()
    centre, half, step = np.array([9.5, 5.5]), 10, 1e-6
    for image, matrix in enumerate(matrices.numpy()):
        for capsule in range(3):

            def project(point, matrix=matrix):
                x, y, depth = matrix @ np.append(centre + half * point, 1)
                return (np.array([x, y]) / depth - centre) / half

            axes = frames[image, capsule].reshape(2, 3).numpy()
            origin = project(axes[:, 2])
            np.testing.assert_allclose(moved[image, capsule][:, 2], origin, atol=1e-12)
            np.testing.assert_allclose(positions[image, capsule], origin, atol=1e-12)
            for column in range(2):
                ends = [project(axes[:, 2] + h * axes[:, column]) for h in (step, -step)]
                difference = (ends[0] - ends[1]) / (2 * step)
                np.testing.assert_allclose(moved[image, capsule][:, column], difference, atol=1e-8)


@both
def test_drawing_composes_over_tilts(transformation):
    images, views = draw(4)[0], draw_tilted(4)
    model = build(transformation)
    assert model.check_rendering(images, views, draw_tilted(4, seed=2)) < 1e-9
    assert model.check_view_argument(images, views) == 0


def test_a_shift_changes_positions_and_not_directions():
    views = Views.identity(1)
    views.shift[:] = torch.tensor([3.0, -2.0])
    model = build("affine")
    poses, presences = capsules = model.recognition(draw(1)[0])
    moved = model.move(capsules, views)
    change = (moved.poses - poses)[0].detach().numpy() * 10  # half of 20 pixels
    np.testing.assert_allclose(change, np.tile([0, 0, 3, 0, 0, -2], (5, 1)), atol=1e-9)
    assert torch.equal(moved.presences, presences)


@both
def test_drawing_agrees_with_a_loop_over_capsules(transformation):
    model = build(transformation)
    images, views = draw(2)
    dim = 2 if transformation == "shift" else 6
    recognition, generation = model.recognition, model.generation
    for image, view, result in zip(
        images, range(2), model(images, views).reconstruction, strict=True
    ):
        matrix = to_pose_units(views.matrices(*SIZE), *SIZE)[view]
        canvas = generation.pixels.bias.clone()
        for j in range(5):
            hidden = recognition.hidden.weight[6 * j : 6 * j + 6] @ image.flatten()
            hidden = (hidden + recognition.hidden.bias[6 * j : 6 * j + 6]).relu()
            *pose, presence = hidden @ recognition.heads[j] + recognition.bias[j]
            frame = torch.stack(pose).reshape(2, dim // 2)
            below = torch.zeros(1, dim // 2).double()
            below[0, -1] = 1
            frame = (matrix @ torch.cat([frame, below]))[:2]
            units = (frame.flatten() @ generation.heads[j] + generation.bias[j]).relu()
            drawn = generation.pixels.weight[:, 7 * j : 7 * j + 7] @ units
            canvas = canvas + presence.sigmoid() * drawn
        torch.testing.assert_close(result.flatten(), canvas.sigmoid())


@both
def test_without_views_the_image_is_drawn_unchanged(transformation):
    model, (images, views) = build(transformation), draw()
    unchanged = model(images).reconstruction
    torch.testing.assert_close(model(images, Views.identity(4)).reconstruction, unchanged)
    assert not torch.allclose(model(images, views).reconstruction, unchanged)


@both
def test_drawing_depends_on_a_view_only_through_the_poses(transformation):
    model, (images, first), (_, second) = build(transformation), draw(), draw(seed=2)
    assert model.check_view_argument(images, first) < 1e-12
    assert model.check_rendering(images, first, second) < 1e-12


def test_pose_equivariance_fails_untrained_and_holds_for_the_centre_of_mass():
    model, (images, views) = build("shift"), draw(ranges=ViewRange(shift=(-2, 2)))
    assert model.check_pose_equivariance(images, views) > 0.01
    read_centre_of_mass(model)
    blob = torch.zeros_like(images)
    blob[:, :, 6:8, 6:8] = torch.rand(4, 2, 2, 2, dtype=torch.float64)
    blob /= blob.sum(dim=(1, 2, 3), keepdim=True)
    assert model.recognition(blob).poses.abs().max() > 0.01
    assert model.check_pose_equivariance(blob, views) < 1e-9


@torch.no_grad()
def read_centre_of_mass(model):
    """Make the pose of every capsule the centre of mass, for images that sum to one."""
    y, x = torch.meshgrid(*(torch.arange(s) - (s - 1) / 2 for s in SIZE), indexing="ij")
    for parameter in model.recognition.parameters():
        parameter.zero_()
    units = model.recognition.hidden.weight.unflatten(0, (5, 6))
    units[:, :4] = torch.stack([x, -x, y, -y]).double().flatten(1).repeat(1, 2) / 10
    model.recognition.heads[:, :2, 0] = torch.tensor([1.0, -1.0]).double()
    model.recognition.heads[:, 2:4, 1] = torch.tensor([1.0, -1.0]).double()


@both
def test_loss_is_the_error_of_the_transformed_image_plus_the_cross_entropy(transformation):
    model, (images, _) = build(transformation), draw()
    batch = batch_of(images)
    views = model._draw_views(batch.index)
    drawn = model(images, views).reconstruction
    error = (drawn - warp(images, views.matrices(*SIZE))).square().mean()
    prediction = model(images)
    cross_entropy = -prediction.scores.log_softmax(dim=1).gather(1, batch.targets[:, None]).mean()
    result = model.loss(prediction, batch, 0.5)
    torch.testing.assert_close(result, error + cross_entropy)
    batch.targets = one_hot(batch.targets, 3)
    torch.testing.assert_close(model.loss(prediction, batch, 0.5), result)


def test_class_labels_do_not_train_the_capsules():
    model, (images, _) = build("affine"), draw()
    batch, gradients = batch_of(images), []
    for targets in (batch.targets, (batch.targets + 1) % 3):
        batch.targets = targets
        model.zero_grad()
        model.loss(model(images), batch, 0.5).backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]) != name.startswith("classes"), name


def test_scores_do_not_depend_on_mode_or_batch():
    model, (images, _) = build("affine"), draw()
    expected = model(images).scores
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    torch.testing.assert_close(model(images).scores, expected)
    alone = model(images[:1])
    torch.testing.assert_close(alone.scores, expected[:1])
    assert model.loss(alone, batch_of(images[:1]), 0.5).isfinite()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_views_are_random_in_training_and_fixed_in_evaluation():
    model, index = build("affine"), torch.arange(6)
    fixed = model._draw_views(index)
    assert torch.equal(model._draw_views(index.flip(0)).shift.flip(0), fixed.shift)
    model.train()
    torch.manual_seed(3)
    first, second = model._draw_views(index), model._draw_views(index)
    torch.manual_seed(3)
    assert torch.equal(model._draw_views(index).shift, first.shift)
    for one, other in ((first, second), (first, fixed)):
        assert not torch.equal(one.shift, other.shift)
        assert not torch.equal(one.rotation, other.rotation)


def test_shift_transformation_uses_only_shifts_and_positions():
    model = build("shift", max_shift=1.5)
    assert model.ranges == ViewRange(shift=(-1.5, 1.5))
    assert model(draw()[0]).poses.shape == (4, 5, 2)
    affine = build("affine", max_rotation=40, max_scale=1.25, max_shear=5)
    assert affine.ranges == ViewRange(
        shift=(-3, 3), rotation=(-40, 40), scale=(0.8, 1.25), shear=(-5, 5)
    )
    assert affine(draw()[0]).poses.shape == (4, 5, 6)


@pytest.mark.parametrize(
    "argument", [{"transformation": "turn"}, {"max_shear": 90}, {"max_scale": 0.5}, {"capsules": 0}]
)
def test_invalid_arguments_are_refused(argument):
    with pytest.raises(UserError, match=next(iter(argument))):
        resolve(
            TransformingAutoencoder,
            argument,
            what="model",
            supplied=("image_shape", "num_classes"),
        )


def test_training_learns_to_shift_a_blob():
    """After some training, a shifted blob is drawn better than by the original image."""
    torch.manual_seed(0)
    model = TransformingAutoencoder(
        image_shape=(1, 12, 12), num_classes=2, capsules=4, recognition=8, generation=16
    )
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    centres = 5.5 + 2 * torch.rand(64, 2, 1, 1) - 1
    images = (-((x - centres[:, 0]) ** 2 + (y - centres[:, 1]) ** 2) / 4).exp()[:, None]
    batch = Batch(images, torch.arange(64) % 2, Views.identity(64), torch.arange(64))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model.loss(model(images), batch, 0.0).backward()
        optimizer.step()
    model.eval()
    views = model._draw_views(batch.index)
    moved = warp(images, views.matrices(12, 12))
    drawn = model(images, views).reconstruction
    assert drawn is not None
    assert (drawn - moved).square().mean() < 0.5 * (images - moved).square().mean()
