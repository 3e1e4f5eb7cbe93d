"""Values of the layers of each model, with those of the networks before training."""

from __future__ import annotations

from collections.abc import Sequence

from capsbench.measures import LayerFigureSpec, LineSpec
from capsbench.records import CellResult
from capsbench.reporting.comparisons.aggregate import SeedValues, aggregate_seeds, quantities
from capsbench.values import Quantity

LAST = "probabilities"  # layers listed after it are not on the path from image to prediction
UNTRAINED = "{name}, before training"
Drawn = tuple[LineSpec, bool]  # a line, and True for that of the networks before training


def drawn_quantities(
    cells: Sequence[CellResult], name: str, spec: LayerFigureSpec
) -> list[Quantity]:
    """Return the quantities that the figure draws: by layer, of all views or of those of a factor.

    They are in the order of the records.
    """
    conditions = {(line.metric, frozenset(line.condition.items())) for line in spec.lines}
    return [
        quantity
        for quantity in quantities(cells, name, view=None)
        if quantity.layer is not None
        and (quantity.factor is not None) == spec.by_factor
        and (quantity.metric, frozenset(quantity.condition.items())) in conditions
    ]


def lines_of(spec: LayerFigureSpec) -> list[Drawn]:
    """Return the lines, each but the controls followed by that of the networks before training."""
    return [
        (line, dotted)
        for line in spec.lines
        for dotted in ((False,) if line.control else (False, True))
    ]


def layer_values(
    cells: Sequence[CellResult], name: str, quantity: Quantity, untrained: bool
) -> SeedValues | None:
    """Collect a quantity over the seeds of a model, or over its networks before training."""
    return aggregate_seeds(cells, name, quantity.of_untrained() if untrained else quantity)
