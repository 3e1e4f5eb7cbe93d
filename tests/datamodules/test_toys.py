"""The toys, their rearrangements, and the grid of factors."""

import itertools

import pytest
import torch

from capsbench.data.randomness import generator
from capsbench.datamodules._toynorb_grid import AZIMUTHS, ELEVATIONS, render_grid, scenes
from capsbench.datamodules._toys import (
    CATEGORIES,
    INSTANCES,
    TEST_INSTANCES,
    TRAIN_INSTANCES,
    all_toys,
    stack,
    toy,
)
from capsbench.datamodules._toys_parts import both_sides, limb, piece, sphere
from capsbench.datamodules._toys_rearranged import rearranged
from capsbench.errors import UserError
from capsbench.rendering.primitives import support
from capsbench.rendering.render import render, render_scene

EVERY = list(itertools.product(CATEGORIES, range(INSTANCES)))


@pytest.fixture(scope="module")
def toys():
    return {key: toy(*key) for key in EVERY}


@pytest.fixture(scope="module")
def grid():
    """The whole grid, tiny."""
    return render_grid(size=12)


def extent(made, directions):
    parts = stack([made])
    return support(parts.poses, parts.half_sizes, parts.shapes, directions)[0].amax(0)


# Toys


def test_five_categories_of_ten_instances_divided_as_smallnorb_is():
    assert CATEGORIES == ("animal", "human", "airplane", "truck", "car")
    assert TRAIN_INSTANCES == (4, 6, 7, 8, 9)
    assert sorted(TRAIN_INSTANCES + TEST_INSTANCES) == list(range(INSTANCES))


def test_every_toy_has_parts_with_names_and_rigid_poses(toys):
    for key, made in toys.items():
        names = [part.name for part in made.parts]
        assert 9 <= len(names) <= 13 and len(set(names)) == len(names), key
        parts = stack([made])
        rotations = parts.poses[0, :, :3, :3]
        torch.testing.assert_close(
            rotations @ rotations.mT, torch.eye(3).expand_as(rotations).double()
        )
        torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(len(names)).double())
        assert (parts.poses[0, :, 3] == torch.tensor([0, 0, 0, 1])).all()
        assert (parts.half_sizes > 0.005).all()
        assert ((parts.albedo > 0.3) & (parts.albedo < 0.95)).all()


def test_every_toy_fills_the_unit_sphere_and_stands_on_the_ground(toys):
    directions = sphere(3000)
    for key, made in toys.items():
        radius = (extent(made, directions) - directions @ made.centre).max()
        assert float(radius) == pytest.approx(1, abs=2e-3), key
        low = -extent(made, torch.tensor([[0.0, 0.0, -1.0]]).double())
        assert low.abs() < 1e-9, key
        assert made.centre[:2].abs().max() < 1e-9, key


@pytest.mark.parametrize("category", CATEGORIES)
def test_instances_are_clearly_different(toys, category):
    silhouettes = []
    for azimuth, elevation in ((60.0, 40.0), (180.0, 60.0)):
        parts = stack([toys[category, number] for number in range(INSTANCES)])
        view = torch.full((10,), elevation), torch.full((10,), azimuth), torch.ones(10)
        silhouettes.append(render(parts, *view, torch.full((10, 1), 4)).masks.flatten(1))
    masks = torch.cat(silhouettes, 1)
    both = (masks[:, None] & masks).sum(2)
    either = (masks[:, None] | masks).sum(2)
    overlap = both / either - torch.eye(10)
    assert overlap.max() < 0.93


def test_paint_does_not_reveal_the_category():
    albedo = all_toys().albedo
    mean = (albedo.sum(1) / (albedo > 0).sum(1)).view(len(CATEGORIES), INSTANCES)
    means = mean.mean(1)
    assert means.max() - means.min() < 2 * mean.std(1).min()


def test_a_toy_is_a_function_of_its_names_and_the_seed():
    one, again, other = toy("car", 3), toy("car", 3), toy("car", 3, seed=1)
    for part, same, painted in zip(one.parts, again.parts, other.parts, strict=True):
        assert part.albedo == same.albedo != painted.albedo
        assert torch.equal(part.pose, same.pose) and torch.equal(part.pose, painted.pose)


def test_stacked_toys_are_the_toys(toys):
    parts = all_toys()
    assert parts.shapes.shape[0] == 50
    row = CATEGORIES.index("truck") * INSTANCES + 7
    made = toys["truck", 7]
    used = parts.shapes[row] >= 0
    assert used.sum() == len(made.parts)
    assert torch.equal(parts.poses[row][used], torch.stack([part.pose for part in made.parts]))
    assert (parts.poses[row][~used] == 0).all() and (parts.albedo[row][~used] == 0).all()


def test_unknown_toys_are_refused():
    with pytest.raises(UserError, match="'trucks'; did you mean 'truck'"):
        toy("trucks", 0)
    with pytest.raises(UserError, match=r"0 to 9.* 10"):
        toy("truck", 10)


def test_parts_extend_between_their_ends():
    arm = limb("arm", (1.0, 0.0, 0.0), (1.0, 3.0, 4.0), 0.2)
    ends = arm.pose @ torch.tensor([[0, 0, -2.5, 1], [0, 0, 2.5, 1]]).double().T
    torch.testing.assert_close(ends[:3].T, torch.tensor([[1.0, 0, 0], [1, 3, 4]]).double())
    wing = piece("wing", "box", (0.0, 1.0, 0.0), (0.2, 1.0, 0.1), z=30.0)
    # Turned to the left, the tip at the left points back.
    tip = wing.pose @ torch.tensor([0.0, 1.0, 0.0, 1.0]).double()
    assert tip[0] < -0.4
    left, right = both_sides(wing)
    assert (left.name, right.name) == ("left wing", "right wing")
    mirrored = right.pose @ torch.tensor([0.0, -1.0, 0.0, 1.0]).double()
    torch.testing.assert_close(mirrored[:3], tip[:3] * torch.tensor([1.0, -1.0, 1.0]).double())
    assert [part.name for part in both_sides(right)] == ["left right wing", "right right wing"]


# Parts out of relation


@pytest.mark.parametrize("category", CATEGORIES)
def test_rearranged_parts_change_only_their_places(toys, category):
    for number in range(INSTANCES):
        made = toys[category, number]
        moved = rearranged(made, generator("picasso", category, number))
        again = rearranged(made, generator("picasso", category, number))
        shifts = []
        for part, other, same in zip(made.parts, moved.parts, again.parts, strict=True):
            assert (part.name, part.shape, part.albedo) == (other.name, other.shape, other.albedo)
            assert torch.equal(part.half_sizes, other.half_sizes)
            assert torch.equal(part.pose[:3, :3], other.pose[:3, :3])
            assert torch.equal(other.pose, same.pose)
            shifts.append(other.pose[:3, 3] - part.pose[:3, 3])
        volumes = [float(part.half_sizes.prod()) for part in made.parts]
        from_body = torch.stack(shifts) - shifts[volumes.index(max(volumes))]
        assert (from_body.norm(dim=1) < 0.1).sum() <= 2, "the largest part stays, the others move"
        low = -extent(moved, torch.tensor([[0.0, 0.0, -1.0]]).double())
        assert low.abs() < 1e-9
        directions = sphere(500)
        assert (extent(moved, directions) - directions @ moved.centre).max() < 1.45


def test_rearranged_parts_stay_visible(toys):
    azimuth = torch.arange(0, 360, 45.0)
    view = torch.tensor([30.0, 60.0]).repeat(4), azimuth, torch.full((8,), 1.2)
    for key, made in toys.items():
        seen = []
        for one in (made, rearranged(made, generator("picasso", *key))):
            parts = stack([one]).rows(torch.zeros(8, dtype=torch.long))
            visible = render(parts, *view, torch.full((8, 1), 4)).parts.unique()
            seen.append(len(visible) - 1)
        assert seen[1] >= len(made.parts) - 1, (key, seen)


def test_another_generator_gives_another_arrangement(toys):
    made = toys["animal", 0]
    one, other = (rearranged(made, generator("picasso", name)) for name in "ab")
    different = [
        not torch.allclose(p.pose, q.pose) for p, q in zip(one.parts, other.parts, strict=True)
    ]
    assert sum(different) >= 5


# The grid


def test_the_grid_is_smallnorbs(grid):
    assert ELEVATIONS == (30, 35, 40, 45, 50, 55, 60, 65, 70)
    assert tuple(range(0, 360, 20)) == AZIMUTHS
    assert len(grid.images) == 48_600 == 5 * 10 * 9 * 18 * 6
    rows = torch.stack(grid[2:], dim=1)
    assert len(rows.unique(dim=0)) == len(rows)
    assert rows.unique(dim=0).equal(rows), "sorted: the last factor changes fastest"
    for instances in (TRAIN_INSTANCES, TEST_INSTANCES):
        chosen = torch.isin(grid.instance, torch.tensor(instances))
        assert grid.category[chosen].bincount().tolist() == [4860] * 5


def test_rows_carry_their_exact_poses(grid):
    rows = torch.tensor([7, 12_345, 25_006, 48_599])
    exact = scenes(
        grid.category[rows], grid.instance[rows], grid.elevation[rows], grid.azimuth[rows]
    )
    assert exact.poses.shape[0] == 4
    drawn = render_scene(exact, grid.lighting[rows][:, None], size=12)
    assert torch.equal((drawn.images[:, 0] * 255).round().byte(), grid.images[rows])
    assert torch.equal(drawn.masks, grid.masks[rows])


def test_some_instances_are_those_rows_of_the_whole_grid(grid):
    finished: list[int] = []
    some = render_grid(size=12, instances=(3, 8), advance=finished.append)
    rows = torch.isin(grid.instance, torch.tensor([3, 8]))
    for part, whole in zip(some, grid, strict=True):
        assert torch.equal(part, whole[rows])
    assert finished == [972] * 10


def test_stereo_distance_and_seed_change_the_images(grid):
    rows = grid.instance == 2
    plain = grid.images[rows]
    stereo = render_grid(size=12, stereo=True, instances=[2])
    assert stereo.images.shape == (4860, 2, 12, 12)
    assert stereo.masks.shape == (4860, 2, 12, 12)
    assert not torch.equal(stereo.images[:, 0], stereo.images[:, 1])
    far = render_grid(size=12, distance=1.5, instances=[2])
    assert far.masks.sum() < 0.6 * grid.masks[rows].sum()
    painted = render_grid(size=12, toys=all_toys(1), instances=[2])
    assert torch.equal(painted.masks, grid.masks[rows])
    assert not torch.equal(painted.images, plain)
    with pytest.raises(UserError, match="distance"):
        render_grid(size=12, distance=0.0, instances=[2])


def test_categories_are_learnable_but_not_trivial(grid):
    """The nearest neighbour among the training instances is right for most test instances."""
    train = torch.isin(grid.instance, torch.tensor(TRAIN_INSTANCES)).nonzero()[:, 0]
    test = torch.isin(grid.instance, torch.tensor(TEST_INSTANCES)).nonzero()[:, 0]
    train = train[torch.randperm(len(train), generator=generator("train"))[:4000]]
    test = test[torch.randperm(len(test), generator=generator("test"))[:1000]]
    images = grid.images.float().flatten(1)
    nearest = torch.cdist(images[test], images[train]).argmin(1)
    correct = grid.category[train][nearest] == grid.category[test]
    assert 0.55 < correct.float().mean() < 0.95
