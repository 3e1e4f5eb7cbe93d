"""Record of a measure: its tidy values, with what they were computed from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

from pydantic import model_validator

from capsbench.errors import UserError, unknown
from capsbench.fingerprint import fingerprint
from capsbench.measures import load_measure
from capsbench.names import without_folder
from capsbench.records.provenance import Provenance
from capsbench.records.record import Record, Seconds
from capsbench.schema.quantities import require_quantity
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
        cell: Name of the cell's folder; None in records from before November 29, 2026.
        sources: Identities of the models that took part, in order; None in those records.
        arrays_sha256: SHA-256 of the file of per-image arrays; None in those records.
        device: Name of the hardware.
        provenance: Versions, commit and date.
    """

    measure: str
    revision: int = 1
    arguments: dict[str, Any]
    rule: str
    values: tuple[Value, ...]
    notes: tuple[str, ...] = ()
    seconds: Seconds | None = None
    cell: str | None = None
    sources: tuple[str, ...] | None = None
    arrays_sha256: str | None = None
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
    def is_checksummed(self) -> bool:
        """True if it names its folder, as all records with a checksum do."""
        return self.cell is not None

    @property
    def fingerprint(self) -> str | None:
        """Hash of all that determines the values on given weights, which ends the file's name.

        None if the record does not hold all of it: the contents of the file of a user's own
        measure, or the identities of source models.
        """
        is_file = ".py:" in self.measure
        if is_file or (self.sources is None and self.arguments.get("sources")):
            return None
        content = self.arguments | {"measure": self.measure}
        return measure_fingerprint(content, self.revision, self.rule, self.sources or ())

    def select(self, **fields: Condition | None) -> list[Value]:
        """Return the values whose fields match, see `capsbench.values.Quantity.matches`."""
        return select(self.values, **fields)

    def get(self, quantity: Quantity) -> float | None:
        """Return the value of a quantity; None if the record has none."""
        value = self._by_name.get(quantity.name)
        return None if value is None else value.value

    @property
    def image_counts(self) -> frozenset[int]:
        """The numbers of images behind the values; empty if all come from none."""
        return frozenset(value.n for value in self.values if value.n)

    def num_images(self, quantity: Quantity) -> int | None:
        """Return the number of test images behind a value; None if the record does not have it."""
        value = self._by_name.get(quantity.name)
        return None if value is None else value.n

    @cached_property
    def _by_name(self) -> dict[str, Value]:
        return {value.name: value for value in self.values}


def require_declared(measure: str, record: MeasureRecord) -> None:
    """Refuse the record of another measure, and values that the measure does not declare.

    Factors of a measure in a user's own file are its own.

    Args:
        measure: Name of the measure in the benchmark, whose code must be trusted.
        record: The record.

    Raises:
        UserError: The measure is unknown, or a metric or factor of it, or a share is outside of
            [0, 1].
    """
    if without_folder(record.measure) != without_folder(measure):
        raise UserError(f"expected a record of {measure}, got one of {record.measure}")
    metrics = load_measure(measure).metrics
    kinds = {(value.metric, value.factor) for value in record.values}
    for metric, factor in sorted(kinds, key=str):
        if metric not in metrics:
            raise unknown(f"metric of {measure}:", metric, metrics)
        require_quantity(measure, Quantity(metric=metric, factor=factor), ())
    for value in record.values:
        if not metrics[value.metric].allows(value.value):
            raise UserError(f"expected {value.name} within [0, 1], got {value.value:g}")


def measure_fingerprint(
    content: dict[str, Any], revision: int, rule: str, sources: Sequence[str]
) -> str:
    """Return the hash that ends the name of a measure's record.

    Args:
        content: Arguments of the measure, with its identity as ``measure``.
        revision: Revision of the measure.
        rule: Selection rule of the weights.
        sources: Identities of the models that take part, in order.
    """
    return fingerprint([content, revision, rule, *sources])
