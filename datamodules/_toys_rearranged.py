"""Toys whose parts are out of relation: the same parts in each other's places."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from capsbench.datamodules._toys_parts import Toy, ToyPart, extents, on_ground, sphere, with_centre
from capsbench.rendering.primitives import SHAPES, gauge

DRAWS = 1000  # arrangements from which the best is chosen
NEAR = 0.3  # of a toy's own radius


def rearranged(original: Toy, draws: Generator) -> Toy:
    """Return a toy with its parts out of relation, as in a portrait by Picasso.

    The largest part stays. The others take each other's places, each with its own shape, size,
    orientation and paint. A place inside the largest part moves to its surface, and a place below
    its middle may move as far above it. Many arrangements are drawn, and the one with the fewest
    faults is taken: parts in the place of one of their kind (a wheel where a wheel was) or near
    their own place, parts with their middle inside or below another, and an extent beyond the
    common size.

    Args:
        original: The toy.
        draws: Random generator of the arrangements.
    """
    volumes = [float(part.half_sizes.prod()) for part in original.parts]
    body = volumes.index(max(volumes))
    others = [number for number in range(len(original.parts)) if number != body]
    centres = torch.stack([part.pose[:3, 3] for part in original.parts])
    depth = _gauges(original.parts[body], centres[others])[:, None].clamp_max(1)
    positions = (centres[others] - centres[body]) / depth

    orders = torch.rand(DRAWS, len(others), generator=draws).argsort(1)
    above = torch.rand(DRAWS, len(others), generator=draws) < 0.5
    drawn = positions[orders]
    drawn[..., 2] = torch.where(above, drawn[..., 2].abs(), drawn[..., 2])
    arranged = centres.repeat(DRAWS, 1, 1)
    arranged[:, others] = centres[body] + drawn

    kinds = [original.parts[number].name.split()[-1] for number in others]
    same = torch.tensor([[one == other for other in kinds] for one in kinds])
    unmoved = same[torch.arange(len(others)), orders] & (drawn == positions[orders]).all(-1)
    unmoved |= (drawn - positions).norm(dim=-1) < NEAR
    faults = (
        2 * unmoved.sum(1)
        + _hidden(original.parts, arranged).sum(1)
        + 10 * _excess(original.parts, arranged)
    )
    chosen = arranged[faults.argmin()]
    return on_ground(
        [with_centre(part, centre) for part, centre in zip(original.parts, chosen, strict=True)]
    )


def _gauges(part: ToyPart, points: Tensor) -> Tensor:
    """Return (...), the gauge of points (..., 3) in object coordinates: below 1 inside a part."""
    local = (points - part.pose[:3, 3]) @ part.pose[:3, :3] / part.half_sizes
    return gauge(SHAPES[part.shape], local.movedim(-1, 0))


def _hidden(parts: Sequence[ToyPart], centres: Tensor) -> Tensor:
    """Return (D, M) of arrangements (D, M, 3): true if a part's middle is in or below another."""
    hidden = torch.zeros(centres.shape[:2], dtype=torch.bool)
    for number, part in enumerate(parts):
        from_part = centres - centres[:, number : number + 1]
        from_part[..., 2].clamp_min_(0)
        within = _gauges(with_centre(part, torch.zeros(3)), from_part) < 1
        within[:, number] = False
        hidden |= within
    return hidden


def _excess(parts: Sequence[ToyPart], centres: Tensor) -> Tensor:
    """Return (D,), the extent of arrangements (D, M, 3) beyond a unit sphere at their middle."""
    directions = sphere(200)
    own = extents([with_centre(part, torch.zeros(3)) for part in parts], directions)
    reached = (own + (centres - centres.mean(1, keepdim=True)) @ directions.T).amax(1)
    return (reached.amax(1) - 1).clamp_min(0)
