"""The size at which one network costs as much as another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from capsbench.contracts import Model
from capsbench.errors import UserError
from capsbench.profiling.model_cost import model_cost

LARGEST = 1 << 20  # of a width; a network that is still too small has another wrong argument


def nearest_size(
    build: Callable[[int], Model], cost: int, *, of: Literal["parameters", "flops"]
) -> int:
    """Return the whole number at which a network comes nearest to a cost.

    Args:
        build: Function that returns the network of a size, such as its width; a larger size costs
            more.
        cost: Number of parameters, or of floating-point operations of one image; those of the
            other network, see `model_cost`.
        of: The cost that is compared.

    Returns:
        The size, at least 1; of two that are equally near the smaller one.

    Raises:
        UserError: No size up to a million reaches the cost.
    """
    distances: dict[int, int] = {}

    def excess(size: int) -> int:
        counted = model_cost(build(size).eval())
        difference = (counted.parameters if of == "parameters" else counted.flops) - cost
        distances[size] = abs(difference)
        return difference

    high = 1
    while excess(high) < 0:
        high *= 2
        if high > LARGEST:
            raise UserError(
                f"no size up to {LARGEST:,} has {cost:,} {of}; change an argument that is fixed"
            )
    low = high // 2  # too small, or 0
    while high - low > 1:
        middle = (low + high) // 2
        if excess(middle) < 0:
            low = middle
        else:
            high = middle
    return min(distances, key=lambda size: (distances[size], size))
