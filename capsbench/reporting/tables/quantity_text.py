"""Names of measured quantities in words."""

from __future__ import annotations

from capsbench.names import without_folder
from capsbench.reporting.formatting import number, view
from capsbench.values import Condition, Quantity
from capsbench.viewpoint.factors import FACTORS


def quantity_text(quantity: Quantity) -> str:
    """Return the name of a quantity in words.

    >>> quantity_text(Quantity(metric="accuracy", split="novel"))
    'novel accuracy'
    >>> quantity_text(Quantity(metric="accuracy", split="outside", factor="rotation", view=90))
    'outside accuracy, rotation 90°'
    >>> quantity_text(Quantity(metric="gap", factor="rotation", view=90, condition={"scale": 0.5}))
    'gap, rotation 90°, scale ×0.5'
    >>> quantity_text(Quantity(metric="r2", layer="hidden", condition={"epsilon": 0.1}))
    'r2, layer hidden, epsilon 0.1'
    """
    words = quantity.metric.replace("_", " ")
    parts = [words if quantity.split is None else f"{quantity.split} {words}"]
    if quantity.factor is not None:
        at = "" if quantity.view is None else f" {view(quantity.factor, quantity.view)}"
        parts.append(f"{quantity.factor}{at}")
    if quantity.layer is not None:
        parts.append(f"layer {quantity.layer}")
    parts += [_condition_text(name, value) for name, value in sorted(quantity.condition.items())]
    if quantity.source is not None:
        parts.append(f"source {quantity.source}")
    return ", ".join(parts)


def measured_text(measure: str, quantity: Quantity) -> str:
    """Return the name of a quantity with its measure.

    >>> measured_text("calibration", Quantity(metric="confidence"))
    'calibration: confidence'
    """
    return f"{without_folder(measure)}: {quantity_text(quantity)}"


def _condition_text(name: str, value: Condition) -> str:
    """Return a condition in words; one that is either met or not has no value."""
    words = name.replace("_", " ")
    if name in FACTORS and isinstance(value, float):
        return f"{name} {view(name, value)}"
    if isinstance(value, bool):
        return words if value else f"not {words}"
    return f"{words} {value if isinstance(value, str) else number(value)}"
