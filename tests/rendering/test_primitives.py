"""Unit shapes checked against their implicit functions: ray marching, roots, differences."""

import pytest
import torch
from scipy.optimize import brentq

from capsbench.rendering.camera import rigid
from capsbench.rendering.primitives import CODES, NO_PART, SHAPES, enter, gauge, outward, support
from tests.rendering.made import IMPLICIT

NAMES = list(IMPLICIT)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def on_surface(name, count=400):
    """Return points at which rays from the centre leave a unit shape, without edges."""
    points = draw(3, count, seed=1)
    points = points / (IMPLICIT[name](points) + 1)
    sizes = torch.stack([torch.hypot(points[0], points[1]), *points.abs()]).sort(0).values
    return points if name == "ellipsoid" else points[:, (sizes[-1] - sizes[-2]).abs() > 1e-3]


@pytest.mark.parametrize("name", NAMES)
def test_a_ray_enters_where_the_implicit_function_first_falls_below_zero(name):
    origin = draw(3, 300)
    origin = origin / origin.norm(dim=0) * 4
    direction = 1.5 * draw(3, 300, seed=2) - origin
    entry = enter(SHAPES[name], origin, direction)
    along = torch.linspace(0, 3, 6001, dtype=torch.float64)
    field = IMPLICIT[name](origin[..., None] + direction[..., None] * along)
    inside = field < 0
    hit, first = inside.any(1), inside.int().argmax(1)
    clear = field.amin(1).abs() > 5e-3  # others graze the shape, perhaps between two samples
    assert torch.equal(entry.isfinite()[clear], hit[clear])
    both = clear & hit
    assert 40 < both.sum() < 200
    for ray in both.nonzero()[:, 0]:
        o, d = origin[:, ray], direction[:, ray]
        before, after = along[first[ray] - 1 : first[ray] + 1].tolist()
        root = brentq(lambda t, o=o, d=d: float(IMPLICIT[name](o + d * t)), before, after)
        assert float(entry[ray]) == pytest.approx(root, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_rays_along_the_axes_and_rays_that_begin_behind(name):
    origin = torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0], [3.0, 1.5, 0.0]]).T
    direction = torch.tensor([[-1.0, 0, 0], [0, -1.0, 0], [0, 0, -2.0], [-1.0, 0, 0]]).T
    assert enter(SHAPES[name], origin, direction).tolist() == [2, 2, 1, torch.inf]
    assert enter(SHAPES[name], origin, -direction).isinf().all()


@pytest.mark.parametrize("name", NAMES)
def test_gauge_is_the_implicit_function(name):
    points = draw(3, 5, 40)
    torch.testing.assert_close(gauge(SHAPES[name], points), IMPLICIT[name](points) + 1)


@pytest.mark.parametrize("name", NAMES)
def test_normals_are_the_gradient_of_the_implicit_function(name):
    points = on_surface(name)
    assert points.shape[1] > 300
    step = 1e-6
    ends = points[:, None] + step * torch.eye(3).double()[..., None]
    starts = points[:, None] - step * torch.eye(3).double()[..., None]
    differences = (IMPLICIT[name](ends) - IMPLICIT[name](starts)) / (2 * step)
    torch.testing.assert_close(outward(SHAPES[name], points), differences, atol=1e-6, rtol=0)


def test_reach_is_the_farthest_point_of_the_surface():
    poses = rigid(torch.linalg.qr(draw(3, 3, 3)).Q)
    poses[:, :3, 3] = draw(3, 3, seed=3)
    half_sizes = draw(3, 3, seed=4).abs() + 0.1
    shapes = torch.tensor([CODES[name] for name in NAMES])
    directions = torch.nn.functional.normalize(draw(20, 3, seed=5), dim=1)
    extents = support(poses, half_sizes, shapes, directions)
    for row, name in enumerate(NAMES):
        points = draw(3, 100_000, seed=6)
        # Corners and rims too, which random points rarely hit.
        rim = points.clone()
        rim[:2] /= rim[:2].norm(dim=0)
        rim[2] = rim[2].sign()
        points = torch.cat([points, points.sign(), rim], dim=1)
        points = points / (IMPLICIT[name](points) + 1) * half_sizes[row, :, None]
        farthest = (directions @ (poses[row, :3, :3] @ points + poses[row, :3, 3:])).amax(1)
        assert (farthest <= extents[row] + 1e-9).all()
        torch.testing.assert_close(farthest, extents[row], atol=2e-3, rtol=0)
    assert support(poses, half_sizes, torch.full((3,), NO_PART), directions).eq(-torch.inf).all()
