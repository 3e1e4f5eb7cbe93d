"""The parts of a benchmark file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from capsbench.measures import TestSplit

Changes = dict[str, Any]  # values by dotted path, such as {"recipe.steps": 500}
JOINT = " · "  # between a model's label and the value at which it was trained
SEARCHED = ("learning_rate", "weight_decay")


class Part(BaseModel):
    """A part of a file: what is not known to it is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataEntry(Part):
    """A data module by name, with its arguments.

    ``per_class`` trains on so many images of each class only, or below 1 on this share of them.
    """

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    per_class: float | None = Field(default=None, gt=0)

    @field_validator("per_class")
    @classmethod
    def _whole(cls, value: float | None) -> float | None:
        if value is not None and value >= 1 and value != int(value):
            raise ValueError("per_class is a whole number of images, or a share below 1")
        return value


class ModelEntry(Part):
    """A model by name, with its arguments and the label that tables and figures show.

    The label defaults to the name, or to the class alone where the name is a path.

    Attributes:
        recipe: Values of the recipe that are this model's own, which takes a reason.
        reason: Why it is not trained as the others are.
    """

    name: str
    label: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)
    reason: str = ""

    @model_validator(mode="before")
    @classmethod
    def _label(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value.get("label"):
            return {**value, "label": str(value.get("name", "")).rpartition(":")[2]}
        return value

    @field_validator("label")
    @classmethod
    def _plain(cls, value: str) -> str:
        if "," in value:
            raise ValueError("a label holds no comma, which separates the labels of --models")
        if JOINT in value:
            raise ValueError(f"a label holds no '{JOINT}', which parts it from a varied value")
        return value

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if self.recipe and not self.reason:
            raise ValueError("a model with a recipe of its own needs a reason")
        return self


class Matched(Part):
    """A second rule: the first look at which a model is as good as another on test images.

    It sees test labels, and is told apart from the selection in every table. Sabour et al. (2017),
    section 5.2, and Hinton et al. (2018), section 5.1, compare models so.

    Attributes:
        split: The test images on which models are matched.
        to: The label of the model whose accuracy, as selected, the others have to reach; or an
            accuracy, which all have to reach.
    """

    split: TestSplit = "familiar"
    to: str | Annotated[float, Field(gt=0, le=1)]


class Variation(Part):
    """What a benchmark varies besides the model: one place of the file takes several values.

    Attributes:
        name: What it is, for axes and headings, such as ``training images of each class``.
        place: The dotted place in the file, such as ``data.per_class``.
        values: The values by the number that stands for each on an axis; a list of numbers stands
            for itself.
        logarithmic: Whether the axis is.
    """

    name: str
    place: str
    values: dict[float, Any] = Field(min_length=2)
    logarithmic: bool = False

    @field_validator("values", mode="before")
    @classmethod
    def _by_number(cls, value: Any) -> Any:
        return {each: each for each in value} if isinstance(value, list) else value


class Search(Part):
    """The grid of recipes from which ``--search`` chooses for every model, on validation images.

    The recipe of the protocol itself is tried first: no model is made worse on them.

    Attributes:
        learning_rate: Values to be tried.
        weight_decay: Values to be tried with each of them.
    """

    learning_rate: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(1e-3, 2.5e-3, 5e-3), min_length=1
    )
    weight_decay: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(0.0, 1e-4), min_length=1
    )

    def trials(self, own: Mapping[str, float]) -> list[dict[str, float]]:
        """Every pair of values, as changes of a recipe, after the recipe's own values."""
        pairs = (dict(zip(SEARCHED, pair, strict=True)) for pair in self._pairs())
        mine = {name: own[name] for name in SEARCHED}
        return [mine, *(pair for pair in pairs if pair != mine)]

    def _pairs(self) -> Iterator[tuple[float, float]]:
        return product(self.learning_rate, self.weight_decay)


class Published(Part):
    """A published number, with its source, what it was selected on and how it is known.

    Attributes:
        model: The label of the model that it is beside.
        at: Of a benchmark that varies something, the varied value that it is beside.
        measure: The measure that it is beside.
        key: The measure's value that it is beside, such as ``novel/accuracy``.
        rule: Whether it is beside the value of the selected weights, or of the matched look.
        value: The number, in the unit of the measured one: a share, not per cent.
        spread: What the source prints after ±, in the same unit; of a curve how far a reading by
            eye may be off.
        printed: The number as the source prints it, such as ``0.25 % error``.
        source: Where it stands.
        selected_on: What chose the weights that it was measured with.
        against: The labels whose published numbers of the same quantity it is compared with; that
            of the first number of the same quantity and source if left out.
        known_by: Whether it was read in the source, calculated from what is read there, or read
            by eye off a curve.
    """

    model: str
    at: float | None = None
    measure: str
    key: str
    rule: Literal["selected", "matched"] = "selected"
    value: float
    spread: float | None = Field(default=None, gt=0)
    printed: str
    source: str
    selected_on: str
    known_by: Literal["read", "calculated", "read off a curve"]
    against: tuple[str, ...] = ()

    @property
    def quantity(self) -> tuple[object, ...]:
        """What it is a number of, whatever the model."""
        return self.measure, self.key, self.rule, self.at


def pairs(entries: Sequence[Published]) -> list[tuple[Published, Published]]:
    """The published numbers that are compared: of each pair the one that is subtracted is first.

    Raises:
        ValueError: A label is named that has no number of the same quantity.
    """
    found = []
    for entry in entries:
        same = {each.model: each for each in entries if each.quantity == entry.quantity}
        if unknown := [label for label in entry.against if label not in same]:
            raise ValueError(
                f"published: {entry.model} is against '{unknown[0]}', which has no number of the "
                f"same quantity; there is {', '.join(same)}"
            )
        first = next(each for each in same.values() if each.source == entry.source)
        others = [same[label] for label in entry.against] or [first]
        found += [(other, entry) for other in others if other is not entry]
    return found
