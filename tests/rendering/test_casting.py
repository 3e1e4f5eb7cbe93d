"""First hits of unions of parts, checked against ray marching in float64; occlusion."""

import pytest
import torch

from capsbench.rendering.casting import cast, pencils
from capsbench.rendering.primitives import NO_PART, SHAPES
from tests.rendering.made import IMPLICIT, parts, random_parts


def grid(side=12, reach=0.2):
    along = torch.linspace(-reach, reach, side)
    return torch.stack([axis.flatten() for axis in torch.meshgrid(along, along, indexing="xy")])


def cast_along_z(made, distance=4.0):
    """Return the origin and the hits of a pencil from (0, 0, -distance) along z."""
    count = len(made.shapes)
    origin = torch.tensor([[0.0, 0.0, -distance]], dtype=torch.float64).expand(count, 3)
    lens = torch.eye(3, dtype=torch.float64).expand(count, 3, 3)
    return origin, cast(pencils(made.poses, made.half_sizes, made.shapes, origin, lens), grid())


def test_hits_agree_with_marching_in_double_precision():
    made = random_parts()
    origin, hits = cast_along_z(made)
    u, v = grid().double()
    directions = torch.stack([u, v, torch.ones_like(u)])
    depths = torch.linspace(2, 7, 4001, dtype=torch.float64)
    points = origin[0][:, None, None] + directions[:, :, None] * depths
    names = list(SHAPES)
    compared = 0
    for row in range(len(made.shapes)):
        fields = torch.full((made.shapes.shape[1], *points.shape[1:]), torch.inf).double()
        for slot, code in enumerate(made.shapes[row].tolist()):
            if code != NO_PART:
                moved = points - made.poses[row, slot, :3, 3, None, None]
                local = torch.einsum("ji,jpd->ipd", made.poses[row, slot, :3, :3], moved)
                local = local / made.half_sizes[row, slot, :, None, None]
                fields[slot] = IMPLICIT[names[code]](local)
        union, owner = fields.min(0)
        inside = union < 0
        hit, first = inside.any(1), inside.int().argmax(1)
        # A ray that grazes a part may pass between two samples.
        clear = (union.amin(1).abs() > 5e-3) & (
            (fields.amin(2).abs() > 5e-3) | fields.amin(2).isinf()
        ).all(0)
        assert torch.equal((hits.part[row] != NO_PART)[clear], hit[clear])
        both = clear & hit
        expected = depths[first[both]]
        assert (hits.depth[row][both] - expected).abs().max() < 2e-3
        # If two parts are hit at nearly the same depth, the samples cannot order them.
        alone = (fields.gather(2, first[None, :, None].expand(len(fields), -1, 1)) < 0.02).sum(0)
        sure = both & (alone[:, 0] == 1)
        nearest = owner.gather(1, first[:, None])[:, 0]
        assert torch.equal(hits.part[row][sure], nearest[sure])
        compared += int(sure.sum())
    assert compared > 100


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("front", [0, 1])
def test_the_nearer_part_hides_the_other(shape, front):
    near, far = (shape, (0, 0, -0.5), (0.3,) * 3), (shape, (0, 0, 0.5), (0.6,) * 3)
    _, hits = cast_along_z(parts([near, far] if front == 0 else [far, near]))
    part = hits.part.view(12, 12)
    assert (part[5:7, 5:7] == front).all()
    assert (part == 1 - front).any(), "the larger part is visible around the smaller one"


def test_rays_without_a_part_have_no_hit():
    _, hits = cast_along_z(parts([], [("box", (5, 5, 0), (0.5, 0.5, 0.5))], slots=2))
    assert (hits.part == NO_PART).all()
    assert hits.depth.isinf().all()


def test_a_part_behind_the_rays_is_not_hit():
    _, hits = cast_along_z(parts([("ellipsoid", (0, 0, -8), (1, 1, 1))]))
    assert (hits.part == NO_PART).all()
