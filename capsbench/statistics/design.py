"""Designs: points that fill the unit cube evenly."""

from __future__ import annotations

import numpy as np

Array = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def sobol_design(points: int, dimensions: int, seed: int) -> Array:
    """Return the first points of a scrambled Sobol sequence (Sobol 1967; Owen 1998).

    A longer design begins with a shorter one. Among the first 2^k points, each interval of length
    2^-k of each dimension holds exactly one.

    Args:
        points: N, the number of points.
        dimensions: D, the number of dimensions.
        seed: Seed of the scrambling.

    Returns:
        (N, D), in [0, 1).
    """
    from scipy.stats import qmc  # its import takes a second

    sequence = qmc.Sobol(dimensions, scramble=True, rng=seed)
    design: Array = sequence.random_base2((points - 1).bit_length())[:points]
    return design
