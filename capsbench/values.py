"""Values: measured numbers as tidy rows, each with the fields that identify the quantity."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from capsbench.strict import StrictModel

LARGEST = 1e100  # no 32-bit float is larger, and sums of squares do not overflow in 64 bits


def _bounded(value: float) -> float:
    if abs(value) > LARGEST:
        raise ValueError(f"expected a number within ±{LARGEST:g}")
    return value


Number = Annotated[float, AfterValidator(_bounded)]
Condition = str | Number | bool
MERGED_ACCURACY = "merged_accuracy"  # metric: accuracy with classes that turns make alike as one
UNTRAINED: Mapping[str, Condition] = MappingProxyType({"network": "untrained"})


class Quantity(StrictModel):
    """Identity of a number within a measure; fields that do not apply are left out.

    Attributes:
        metric: Name of the number, such as ``accuracy``, ``gap`` or ``explained``.
        split: Test images: ``familiar``, ``novel``, ``between``, ``outside``, ``rearranged`` or the
            name of a range of views. Of a single view, its kind.
        factor: Factor of the view, such as ``rotation``.
        view: Value of the factor, in its unit; of a recorded factor in a measure of layers, the
            change. Without it, a value with a factor summarizes all views of the factor.
        layer: Name of a layer.
        condition: Further settings by name, such as ``{"method": "fgsm", "epsilon": 0.1}``. Numbers
            of the network before training have ``{"network": "untrained"}``.
        source: Label of another model that took part, such as the model that was attacked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    metric: str
    split: str | None = None
    factor: str | None = None
    view: Number | None = None
    layer: str | None = None
    condition: dict[str, Condition] = Field(default_factory=dict)
    source: str | None = None

    @model_serializer(mode="wrap")
    def _without_absent_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out fields that do not apply, so that records stay short."""
        return {name: value for name, value in handler(self).items() if value not in (None, {})}

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def fields(self) -> dict[str, Condition]:
        """The fields that apply, without the metric; then conditions, sorted by name."""
        own = {
            name: value
            for name in ("split", "factor", "view", "layer", "source")
            if (value := getattr(self, name)) is not None
        }
        return own | dict(sorted(self.condition.items()))

    @property
    def name(self) -> str:
        """Stable text that identifies the quantity, the key of its per-image array.

        >>> Quantity(metric="accuracy", split="novel").name
        'accuracy[split=novel]'
        >>> Quantity(metric="accuracy", factor="rotation", view=90.0).name
        'accuracy[factor=rotation,view=90]'
        """
        parts = ",".join(f"{name}={_text(value)}" for name, value in self.fields.items())
        return f"{self.metric}[{parts}]" if parts else self.metric

    def row(self) -> dict[str, Any]:
        """Return the fields as a row of a table, each condition under ``condition_<name>``."""
        own = {name: value for name, value in self if name != "condition"}
        return own | {_column(name): value for name, value in self.condition.items()}

    @classmethod
    def columns(cls, quantities: Iterable[Quantity]) -> list[str]:
        """Return the columns of a table of quantities, in the place of conditions one for each."""
        conditions = sorted({name for each in quantities for name in each.condition})
        columns = {name: [name] for name in cls.model_fields} | {
            "condition": [_column(name) for name in conditions]
        }
        return [name for names in columns.values() for name in names]

    def matches(self, **fields: Condition | None) -> bool:
        """Check that fields, or conditions, have the given values; None means absent.

        >>> Quantity(metric="gap").matches(metric="gap", split=None)
        True
        """
        mine = {"metric": self.metric, **self.fields}
        return all(mine.get(name) == value for name, value in fields.items())

    @property
    def is_untrained(self) -> bool:
        """True for a number of the network before training, the untrained control."""
        return all(self.condition.get(name) == value for name, value in UNTRAINED.items())

    def of_untrained(self) -> Self:
        """Return the same number, or its identity, as that of the network before training.

        >>> Quantity(metric="r2", layer="hidden").of_untrained().name
        'r2[layer=hidden,network=untrained]'
        """
        return self.model_copy(update={"condition": {**self.condition, **UNTRAINED}})

    def with_value(self, value: float, n: int) -> Value:
        """Return the row of this quantity with a value from ``n`` test images."""
        return Value(**dict(self), value=value, n=operator.index(n))  # of numpy too


class Value(Quantity):
    """A measured number.

    Attributes:
        value: The number, finite, in the unit that the measure states.
        n: Number of test images that it is computed from; 0 if from none. Of the speed and memory
            of a training step, the number of its images.
    """

    value: Number
    n: int = Field(ge=0, le=10**15)

    @property
    def quantity(self) -> Quantity:
        """The identity without the number."""
        return Quantity(**{name: getattr(self, name) for name in Quantity.model_fields})

    def __hash__(self) -> int:
        return hash((self.name, self.value, self.n))


def select(values: Iterable[Value], **fields: Condition | None) -> list[Value]:
    """Return the values whose fields match, in their order, see `Quantity.matches`."""
    return [value for value in values if value.matches(**fields)]


def _column(condition: str) -> str:
    """Return the column of a condition in a table."""
    return f"condition_{condition}"


def _text(value: Any) -> str:
    """Return a field as text; -0.0 is 0, and whole numbers have no decimals."""
    if isinstance(value, float):
        return repr(value + 0.0).removesuffix(".0")
    return str(value)
