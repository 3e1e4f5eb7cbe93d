"""Parts of a benchmark file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from capsbench.errors import UNPRINTABLE
from capsbench.files.yaml import parse_yaml
from capsbench.measures import TestSplit
from capsbench.strict import StrictModel
from capsbench.values import Number, Quantity

LABEL_SEPARATOR = " · "  # between a model's label and the value at which it was trained
TRAINED_ELSEWHERE = "trained elsewhere"  # mark of a model of other origin, after its label
MAX_LABEL = 100  # characters
ADDED = "+"  # before a requested model that is added to those of a benchmark
# Parts of a benchmark that its variants have in common.
COMMON = ("name", "version", "seeds", "published", "scales", "vary")
Point = float | str  # a variant of a benchmark that varies something: a value, or a case's name


def require_separate(places: Iterable[str]) -> Any:
    """Return places, if no one of them is equal to another, or lies within it.

    Raises:
        ValueError: One does; its value would be dropped, or depend on the order.
    """
    earlier: list[str] = []
    for place in places:
        for other in earlier:
            if f"{place}.".startswith(f"{other}.") or f"{other}.".startswith(f"{place}."):
                both = (
                    f"'{place}' was given already"
                    if place == other
                    else f"'{other}' and '{place}' overlap"
                )
                raise ValueError(f"{both}; keep one of them")
        earlier.append(place)
    return places


# Values by dotted path, such as {"recipe.steps": 500}.
Changes = Annotated[dict[str, Any], AfterValidator(require_separate)]


def point_text(point: Point) -> str:
    """Return a value, or the name of a case, as text.

    >>> point_text(30.0), point_text("RandAugment")
    ('30', 'RandAugment')
    """
    return point if isinstance(point, str) else f"{point:g}"


def checked_label(label: str) -> str:
    """Return a label of a model that tables, figures and ``--models`` can hold.

    Raises:
        ValueError: It is none.
    """
    if not label.strip() or label.splitlines() != [label] or len(label) > MAX_LABEL:
        raise ValueError(f"a label is one line of 1 to {MAX_LABEL} characters")
    if UNPRINTABLE.search(label):
        raise ValueError("a label must not contain control characters")
    if "," in label:
        raise ValueError("a label must not contain a comma: it separates the labels of --models")
    if label.startswith(ADDED):
        raise ValueError(f"a label must not begin with '{ADDED}': it adds a model in --models")
    if LABEL_SEPARATOR in label:
        raise ValueError(
            f"a label must not contain '{LABEL_SEPARATOR}': it separates a varied value"
        )
    if label.endswith(f"({TRAINED_ELSEWHERE})"):
        raise ValueError(
            f"a label must not end with '({TRAINED_ELSEWHERE})': pages mark models by it"
        )
    return label


class SchemaModel(StrictModel):
    """Base of every part of a file; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataEntry(SchemaModel):
    """A data module by name, with its arguments.

    Attributes:
        per_class: Number of training images of each class; below 1, the share of them.
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


class ModelEntry(SchemaModel):
    """A model by name, with its arguments and the label that tables and figures show.

    The label defaults to the name, or to the class alone if the name is a path.

    Attributes:
        recipe: Values of the recipe for this model alone; they need a reason, or a search.
        reason: Reason for the different recipe.
        tuned: Name of the record of the search that chose values of ``recipe`` and ``arguments``,
            a file in ``results/searches``; empty if the model is not tuned here.
    """

    name: str
    label: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)
    reason: str = ""
    tuned: str = ""

    @model_validator(mode="before")
    @classmethod
    def _label(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("label") in (None, ""):
            return {**value, "label": str(value.get("name", "")).rpartition(":")[2]}
        return value

    @field_validator("label")
    @classmethod
    def _plain(cls, value: str) -> str:
        return checked_label(value)

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if self.recipe and not (self.reason or self.tuned):
            raise ValueError("a model with a different recipe needs a reason, or a search (tuned)")
        return self


class Matched(SchemaModel):
    """A second rule: the first validation at which a model reaches an accuracy on test images.

    It sees test labels, and is shown apart from the selection in every table. Sabour et al. (2017),
    section 5.2, and Hinton et al. (2018), section 5.1, compare models by such a rule.

    Attributes:
        split: Test images on which models are matched.
        to: Label of the model whose selected accuracy the others have to reach; or an accuracy that
            all models have to reach.
    """

    split: TestSplit = "familiar"
    to: str | Annotated[float, Field(gt=0, le=1)]


class Variation(SchemaModel):
    """A variable of the benchmark in addition to the model: values of one place, or named cases.

    Attributes:
        name: Name for axes and headings, such as ``training images of each class``.
        place: Dotted place in the file, such as ``data.per_class``.
        values: Values by their number on an axis; a list of numbers maps each number to itself.
        cases: In their stead, changes by dotted place, for each case by its name. Records number
            the cases from 0.
        logarithmic: True for a logarithmic axis.
    """

    name: str
    place: str | None = None
    values: dict[float, Any] | None = Field(default=None, min_length=2)
    cases: dict[str, Changes] | None = Field(default=None, min_length=2)
    logarithmic: bool = False

    @property
    def points(self) -> dict[Point, Changes]:
        """The changes of each variant, by its value or the name of its case."""
        if self.cases is None:
            return {at: {str(self.place): value} for at, value in (self.values or {}).items()}
        cases: Iterable[tuple[Point, Changes]] = self.cases.items()
        return dict(cases)

    def case(self, at: float) -> str | None:
        """Return the name of the case at a position; None if values are varied."""
        return None if self.cases is None else list(self.cases)[int(at)]

    def position(self, point: Point) -> float:
        """Return the place of a variant on an axis: its value, or the number of its case."""
        return point if isinstance(point, float) else float(list(self.points).index(point))

    @field_validator("values", mode="before")
    @classmethod
    def _by_number(cls, value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(each, str | int | float) for each in value):
            pairs = [(each if isinstance(each, str) else _number(each), each) for each in value]
        elif isinstance(value, dict):  # JSON, and thus a record, has texts as keys
            pairs = [(_number(key), each) for key, each in value.items()]
        else:
            return value
        given = [key for key, _ in pairs]
        for key in given:
            if given.count(key) > 1:
                raise ValueError(f"the value {key} is given twice; keep one of them")
        return dict(pairs)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.cases is None:
            complete = self.place is not None and self.values is not None
        else:
            complete = self.place is None and self.values is None
        if not complete:
            raise ValueError("give place and values, or cases")
        if self.cases is not None and self.logarithmic:
            raise ValueError("cases have no logarithmic axis")
        for case in self.cases or ():
            if not case or LABEL_SEPARATOR in case:
                raise ValueError(f"a case needs a name without '{LABEL_SEPARATOR}'")
        for place in (place for changes in self.points.values() for place in changes):
            if place.partition(".")[0] in COMMON:
                raise ValueError(f"'{place}' is common to all cases and values and cannot vary")
        return self


def _number(key: Any) -> Any:
    """Return a number, also one in a text, as a float; anything else is refused later."""
    try:
        number = parse_yaml(key) if isinstance(key, str) else key
        return float(number) if type(number) in {int, float} else key
    except (ValueError, OverflowError):
        return key


class Published(SchemaModel):
    """A published number, with its source, its selection rule and the way it is known.

    Attributes:
        model: Label of the model whose measured number it is compared with.
        at: Value, or name of the case, of what the benchmark varies, if it varies something.
        measure: Measure of the measured number.
        quantity: The measured number within the measure.
        rule: Compare with the selected weights, or with the matched step.
        value: The number in the unit of the measured one: a share, not per cent.
        spread: Number that the source prints after ±, in the same unit; of a curve, the largest
            error of reading it by eye.
        printed: The number as the source prints it, such as ``0.25 % error``.
        source: Paper and place.
        selected_on: Images that selected the published weights.
        against: Labels whose published numbers of the same quantity it is compared with; the label
            of the first number of the same quantity and source if left out.
        known_by: Read in the source, calculated from numbers there, or read by eye off a curve.
    """

    model: str
    at: Point | None = None
    measure: str
    quantity: Quantity
    rule: Literal["selected", "matched"] = "selected"
    value: Number
    spread: Number | None = Field(default=None, gt=0)
    printed: str
    source: str
    selected_on: str
    known_by: Literal["read", "calculated", "read off a curve"]
    against: tuple[str, ...] = ()

    @property
    def group(self) -> tuple[object, ...]:
        """Identity of the number apart from the model; numbers of one group are comparable."""
        return self.measure, self.quantity, self.rule, self.at


def pairs(entries: Sequence[Published]) -> list[tuple[Published, Published]]:
    """Return the pairs of published numbers that are compared; the first one is subtracted.

    Of several numbers of a model for the same quantity, the one of the same source is taken.

    Raises:
        ValueError: A label in ``against`` has no number of the same group.
    """
    result = []
    for entry in entries:
        group = [each for each in entries if each.group == entry.group]
        of_source = [each for each in group if each.source == entry.source]
        same = {each.model: each for each in reversed(of_source + group)}
        if unknown := [label for label in entry.against if label not in same]:
            raise ValueError(
                f"published: {entry.model} is compared with '{unknown[0]}', which has no number of "
                f"the same quantity; known: {', '.join(same)}"
            )
        others = [same[label] for label in entry.against] or of_source[:1]
        result += [(other, entry) for other in others if other is not entry]
    return result
