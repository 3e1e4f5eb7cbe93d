"""The toys of ToyNORB: five categories of ten instances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch

from capsbench.data.randomness import generator
from capsbench.datamodules._toys_airplanes import airplane
from capsbench.datamodules._toys_living import animal, human
from capsbench.datamodules._toys_parts import Toy, ToyPart, in_common_size
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
    unpainted = in_common_size(BUILDERS[category](instance))
    draws = torch.rand(
        1 + len(unpainted.parts),
        generator=generator(seed, "toynorb", category, instance),
        dtype=torch.float64,
    )
    albedos = (0.55 + 0.25 * draws[0] + 0.10 * (draws[1:] - 0.5)).tolist()
    painted = (
        part._replace(albedo=albedo) for part, albedo in zip(unpainted.parts, albedos, strict=True)
    )
    return unpainted._replace(parts=tuple(painted))


def stack(toys: Sequence[Toy]) -> Parts:
    """Return toys as tensors, for rendering."""
    num_slots = max(len(each.parts) for each in toys)
    parts = Parts(
        torch.zeros(len(toys), num_slots, 4, 4, dtype=torch.float64),
        torch.zeros(len(toys), num_slots, 3, dtype=torch.float64),
        torch.full((len(toys), num_slots), NO_PART),
        torch.zeros(len(toys), num_slots, dtype=torch.float64),
        torch.stack([each.centre for each in toys]),
    )
    for row, each in enumerate(toys):
        for slot, part in enumerate(each.parts):
            parts.poses[row, slot] = part.pose
            parts.half_sizes[row, slot] = part.half_sizes
            parts.shapes[row, slot] = CODES[part.shape]
            parts.albedo[row, slot] = part.albedo
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
            rearranged(each, generator("toynorb", "rearranged", row))
            for row, each in enumerate(toys)
        ]
    return stack(toys)
