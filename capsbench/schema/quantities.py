"""Check that published numbers and claims name quantities that a measure can return."""

from __future__ import annotations

from collections.abc import Sequence

from capsbench.errors import unknown
from capsbench.measures import MeasureConfig, load_measure
from capsbench.names import table
from capsbench.values import Quantity
from capsbench.viewpoint.factors import FACTORS

SPLITS = ("familiar", "novel", "between", "outside", "rearranged")


def require_quantity(measure: str, quantity: Quantity, configs: Sequence[MeasureConfig]) -> None:
    """Refuse a quantity with a misspelt name, which no measured number would have.

    Splits are checked if the measure is one of the configs, which can name ranges of views. A
    measure in a user's own file is not checked.

    Args:
        measure: Name of the measure.
        quantity: The quantity.
        configs: Measures of the benchmark.

    Raises:
        UserError: The measure, metric, factor or split is unknown.
    """
    if ":" in measure:
        return
    if measure not in table("measures"):
        raise unknown("measure", measure, table("measures"), "capsbench list measures")
    metrics = load_measure(measure).metrics
    if quantity.metric not in metrics:
        raise unknown(f"metric of {measure}:", quantity.metric, metrics)
    if quantity.factor is not None and quantity.factor not in FACTORS:
        raise unknown("factor", quantity.factor, FACTORS)
    for config in configs:
        if config.measure == measure and quantity.split is not None:
            mappings = [value for _, value in config if isinstance(value, dict)]
            known = {*SPLITS, *(str(name) for names in mappings for name in names)}
            if quantity.split not in known:
                raise unknown(f"split of {measure}:", quantity.split, known)
