"""The toys of ToyNORB: five categories of ten instances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch

from capsbench.data.randomness import generator
from capsbench.datamodules._toys_airplanes import airplane
from capsbench.datamodules._toys_living import animal, human
from capsbench.datamodules._toys_parts import Toy, ToyPart, standing
from capsbench.datamodules._toys_rearranged import rearranged
from capsbench.datamodules._toys_vehicles import car, truck
from capsbench.errors import UserError, unknown
from capsbench.rendering.primitives import CODES, NO_PART
from capsbench.rendering.scene import Parts

BUILDERS: dict[str, Callable[[int], list[ToyPart]]] = {
    "animal": animal,
    "human": human,
    "airplane": airplane,
    "truck": truck,
    "car": car,
}
CATEGORIES = tuple(BUILDERS)
INSTANCES = 10
TRAIN_INSTANCES = (4, 6, 7, 8, 9)
TEST_INSTANCES = (0, 1, 2, 3, 5)


def toy(category: str, instance: int, seed: int = 0) -> Toy:
    """Build a toy in the common size, painted in a random grey.

    Args:
        category: Name of the category.
        instance: 0 to 9.
        seed: Seed of the paint.

    Raises:
        UserError: There is no such category or instance.
    """
    if category not in BUILDERS:
        raise unknown("category", category, CATEGORIES)
    if not 0 <= instance < INSTANCES:
        raise UserError(f"instances are 0 to {INSTANCES - 1}, not {instance}")
    made = standing(BUILDERS[category](instance))
    draws = torch.rand(
        1 + len(made.parts),
        generator=generator(seed, "toynorb", category, instance),
        dtype=torch.float64,
    )
    albedos = (0.55 + 0.25 * draws[0] + 0.10 * (draws[1:] - 0.5)).tolist()
    painted = (
        part._replace(albedo=albedo) for part, albedo in zip(made.parts, albedos, strict=True)
    )
    return made._replace(parts=tuple(painted))


def stack(toys: Sequence[Toy]) -> Parts:
    """Return toys as tensors, for rendering."""
    places = max(len(made.parts) for made in toys)
    parts = Parts(
        torch.zeros(len(toys), places, 4, 4, dtype=torch.float64),
        torch.zeros(len(toys), places, 3, dtype=torch.float64),
        torch.full((len(toys), places), NO_PART),
        torch.zeros(len(toys), places, dtype=torch.float64),
        torch.stack([made.centre for made in toys]),
    )
    for row, made in enumerate(toys):
        for place, part in enumerate(made.parts):
            parts.poses[row, place] = part.pose
            parts.half_sizes[row, place] = part.half_sizes
            parts.shapes[row, place] = CODES[part.shape]
            parts.albedo[row, place] = part.albedo
    return parts


@cache
def all_toys(seed: int = 0, *, out_of_relation: bool = False) -> Parts:
    """Return the 50 toys, the instances of a category together: row 10 x category + instance.

    Args:
        seed: Seed of the paint.
        out_of_relation: Exchange the places of each toy's parts, see `rearranged`.
    """
    toys = [toy(name, number, seed) for name in CATEGORIES for number in range(INSTANCES)]
    if out_of_relation:
        toys = [
            rearranged(made, generator("toynorb", "rearranged", row))
            for row, made in enumerate(toys)
        ]
    return stack(toys)
