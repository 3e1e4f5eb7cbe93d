"""Record of a measure: its tidy values, with what they were computed from."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

from pydantic import model_validator

from capsbench.records.provenance import Provenance
from capsbench.records.record import Record
from capsbench.values import Condition, Quantity, Value, select


class MeasureRecord(Record):
    """Outcome of a measure on one cell.

    Attributes:
        measure: Name of the measure.
        revision: Number that rises when the measure's numbers change.
        arguments: Arguments of the measure, defaults filled in.
        rule: Selection rule of the weights that were measured.
        values: The numbers.
        notes: Sentences on what was not measured, and why.
        seconds: Wall time; None if it is not known.
        device: Name of the hardware.
        provenance: Versions, commit and date.
    """

    measure: str
    revision: int = 1
    arguments: dict[str, Any]
    rule: str
    values: tuple[Value, ...]
    notes: tuple[str, ...] = ()
    seconds: float | None = None
    device: str
    provenance: Provenance

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        names = [value.name for value in self.values]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"values: {twice} appears twice")
        return self

    @property
    def n(self) -> int:
        """The largest number of test images behind a value."""
        return max((value.n for value in self.values), default=0)

    def select(self, **fields: Condition | None) -> list[Value]:
        """Return the values whose fields match, see `capsbench.values.Quantity.matches`."""
        return select(self.values, **fields)

    def get(self, quantity: Quantity) -> float | None:
        """Return the value of a quantity; None if the record has none."""
        return self._numbers.get(quantity.name)

    @cached_property
    def _numbers(self) -> dict[str, float]:
        return {value.name: value.value for value in self.values}
