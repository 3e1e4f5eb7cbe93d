"""Small objects for the tests of rendering."""

import torch

from capsbench.rendering.camera import rigid
from capsbench.rendering.primitives import CODES, NO_PART
from capsbench.rendering.scene import Parts

# Implicit functions of the unit shapes: negative inside, zero on the surface.
IMPLICIT = {
    "ellipsoid": lambda p: (p**2).sum(0).sqrt() - 1,
    "box": lambda p: p.abs().amax(0) - 1,
    "cylinder": lambda p: torch.maximum(torch.hypot(p[0], p[1]), p[2].abs()) - 1,
}


def parts(*objects, places=None, centre=(0.0, 0.0, 0.0)):
    """Objects from lists of (shape, middle, half sizes[, rotation])."""
    places = places or max(len(made) for made in objects)
    count = len(objects)
    made = Parts(
        torch.zeros(count, places, 4, 4, dtype=torch.float64),
        torch.zeros(count, places, 3, dtype=torch.float64),
        torch.full((count, places), NO_PART),
        torch.zeros(count, places, dtype=torch.float64),
        torch.tensor(centre, dtype=torch.float64).expand(count, 3),
    )
    for row, pieces in enumerate(objects):
        for place, (shape, middle, half, *turned) in enumerate(pieces):
            rotation = turned[0] if turned else torch.eye(3, dtype=torch.float64)
            made.poses[row, place] = rigid(rotation)
            made.poses[row, place, :3, 3] = torch.tensor(middle, dtype=torch.float64)
            made.half_sizes[row, place] = torch.tensor(half, dtype=torch.float64)
            made.shapes[row, place] = CODES[shape]
            made.albedo[row, place] = 0.6
    return made


def random_parts(count=4, places=5, seed=0):
    """Objects of parts at random, some places unused."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, places, 3, 3, generator=generator, dtype=torch.float64)
    uniform = torch.rand(count, places, 7, generator=generator, dtype=torch.float64)
    made = parts(*[[]] * count, places=places, centre=(0.0, 0.0, 0.6))
    made.poses.copy_(rigid(torch.linalg.qr(normal).Q))
    made.poses[..., :3, 3] = uniform[..., :3] - torch.tensor([0.5, 0.5, -0.2]).double()
    made.half_sizes.copy_(0.08 + 0.3 * uniform[..., 3:6])
    made.shapes.copy_(torch.arange(count * places).view(count, places) % 4 - 1)
    made.albedo.copy_(0.3 + 0.5 * uniform[..., 6])
    unused = made.shapes == NO_PART
    made.poses[unused] = 0
    made.half_sizes[unused] = 0
    made.albedo[unused] = 0
    return made


def numbers(*values):
    """A float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)
