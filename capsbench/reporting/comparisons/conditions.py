"""A metric against a numerical condition, such as accuracy against the size of attacks."""

from __future__ import annotations

from collections.abc import Sequence

from capsbench.measures import ConditionFigureSpec
from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import SeedValues, aggregate_seeds, quantities
from capsbench.reporting.formatting import number
from capsbench.values import Condition, Quantity

PanelKey = tuple[Condition | None, ...]  # value of each field in `ConditionFigureSpec.panels`
Point = tuple[float, SeedValues]


def panel_keys(results: Results, name: str, spec: ConditionFigureSpec) -> list[PanelKey]:
    """Return the panels of any model, in the order of the records."""
    return list(
        dict.fromkeys(
            _panel_key(quantity, spec)
            for cells in results.by_label().values()
            for quantity in quantities(cells, name, metric=spec.metric)
            if spec.condition in quantity.condition
        )
    )


def condition_curve(
    cells: Sequence[CellResult],
    name: str,
    spec: ConditionFigureSpec,
    key: PanelKey,
    metric: str,
) -> list[Point]:
    """Return a metric over the seeds of a model at each value of the condition, in one panel."""
    curve = {
        float(quantity.condition[spec.condition]): quantity
        for quantity in quantities(cells, name, metric=metric)
        if spec.condition in quantity.condition and _panel_key(quantity, spec) == key
    }
    if curve and spec.at_zero and metric == spec.metric:
        curve.setdefault(0.0, Quantity(metric=metric, condition=spec.at_zero))
    points = [(x, aggregate_seeds(cells, name, quantity)) for x, quantity in sorted(curve.items())]
    return [(x, seed_values) for x, seed_values in points if seed_values is not None]


def panel_title(spec: ConditionFigureSpec, key: PanelKey) -> str:
    """Return the title of a panel, such as ``FGSM, targeted, from CNN``."""
    words = []
    for field, value in zip(spec.panels, key, strict=True):
        if value is True:
            words.append(field)
        elif field == "source" and value is not None:
            words.append(f"from {value}")
        elif isinstance(value, str):
            words.append(spec.names.get(value, value))
        elif value:
            words.append(f"{field} {number(value)}")
    return ", ".join(words)


def _panel_key(quantity: Quantity, spec: ConditionFigureSpec) -> PanelKey:
    return tuple(quantity.fields.get(field) for field in spec.panels)
