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


def parts(*objects, slots=None, centre=(0.0, 0.0, 0.0)):
    """Make objects from lists of (shape, middle, half sizes[, rotation])."""
    slots = slots or max(len(pieces) for pieces in objects)
    count = len(objects)
    result = Parts(
        torch.zeros(count, slots, 4, 4, dtype=torch.float64),
        torch.zeros(count, slots, 3, dtype=torch.float64),
        torch.full((count, slots), NO_PART),
        torch.zeros(count, slots, dtype=torch.float64),
        torch.tensor(centre, dtype=torch.float64).expand(count, 3),
    )
    for row, pieces in enumerate(objects):
        for slot, (shape, middle, half, *turned) in enumerate(pieces):
            rotation = turned[0] if turned else torch.eye(3, dtype=torch.float64)
            result.poses[row, slot] = rigid(rotation)
            result.poses[row, slot, :3, 3] = torch.tensor(middle, dtype=torch.float64)
            result.half_sizes[row, slot] = torch.tensor(half, dtype=torch.float64)
            result.shapes[row, slot] = CODES[shape]
            result.albedo[row, slot] = 0.6
    return result


def random_parts(count=4, slots=5, seed=0):
    """Make objects of random parts, with some unused slots."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, slots, 3, 3, generator=generator, dtype=torch.float64)
    uniform = torch.rand(count, slots, 7, generator=generator, dtype=torch.float64)
    result = parts(*[[]] * count, slots=slots, centre=(0.0, 0.0, 0.6))
    result.poses.copy_(rigid(torch.linalg.qr(normal).Q))
    result.poses[..., :3, 3] = uniform[..., :3] - torch.tensor([0.5, 0.5, -0.2]).double()
    result.half_sizes.copy_(0.08 + 0.3 * uniform[..., 3:6])
    result.shapes.copy_(torch.arange(count * slots).view(count, slots) % 4 - 1)
    result.albedo.copy_(0.3 + 0.5 * uniform[..., 6])
    unused = result.shapes == NO_PART
    result.poses[unused] = 0
    result.half_sizes[unused] = 0
    result.albedo[unused] = 0
    return result


def numbers(*values):
    """Make a float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)
