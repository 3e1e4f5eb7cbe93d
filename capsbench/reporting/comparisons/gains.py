"""Gains by training: numbers of trained networks minus those of the same networks before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from capsbench.records import CellResult
from capsbench.reporting.comparisons.aggregate import SeedValues, aggregate_seeds, subtract_seeds
from capsbench.reporting.comparisons.per_image import ImageOutcomes
from capsbench.values import Quantity


def seed_gains(cells: Sequence[CellResult], measure: str, quantity: Quantity) -> SeedValues | None:
    """Return a quantity's gain of each seed; None if no seed has the untrained control.

    Args:
        cells: Cells of one model.
        measure: Name of the measure.
        quantity: The quantity of the trained network.
    """
    trained = aggregate_seeds(cells, measure, quantity)
    return subtract_seeds(aggregate_seeds(cells, measure, quantity.of_untrained()), trained)


def gain_outcomes(
    outcomes: Mapping[Quantity, ImageOutcomes], quantity: Quantity
) -> ImageOutcomes | None:
    """Return the contribution of each image to the gain of each seed.

    A difference of two values has the differences of their contributions, also where these are the
    linear parts of a ratio.

    Args:
        outcomes: Outcomes of one model, see `load_outcomes`.
        quantity: The quantity of the trained network.

    Returns:
        The outcomes; None if the images or the control are missing, or the images differ.
    """
    trained, untrained = outcomes.get(quantity), outcomes.get(quantity.of_untrained())
    if trained is None or untrained is None:
        return None
    if not np.array_equal(trained.numbers, untrained.numbers):
        return None
    return trained._replace(table=trained.table - untrained.table)
