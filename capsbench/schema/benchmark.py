"""The schema of a benchmark file."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from capsbench.errors import unknown
from capsbench.measures import MeasureConfig, Name, TestSplit, parse_config
from capsbench.schema.parts import (
    Changes,
    DataEntry,
    Matched,
    ModelEntry,
    Part,
    Published,
    Search,
    Variation,
    pairs,
)
from capsbench.training.recipe import Recipe
from capsbench.viewpoint.ranges import ViewRange

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
AnyMeasureConfig = Annotated[SerializeAsAny[MeasureConfig], BeforeValidator(parse_config)]


class Benchmark(Part):
    """A named, versioned protocol: data, views, models, recipe, selection rule, seeds, measures.

    Attributes:
        conflicts: Where its sources disagree or are silent, and what is done here, a sentence each.
        related: What others report of other networks or protocols, a sentence each: no number of
            it is beside a measured one.
        expected: How long it takes, and on what.
        follow: Test splits whose accuracy is followed during the training; they choose nothing but
            the look of ``matched``.
        scales: Sets of changes by name, for ``--scale``: the protocol at another size.
    """

    name: str
    version: int = Field(ge=1)
    title: str
    question: str
    source: str
    conflicts: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    expected: str = ""
    data: DataEntry
    views: ViewRange = ViewRange()
    models: tuple[ModelEntry, ...] = Field(min_length=1)
    vary: Variation | None = None
    recipe: Recipe
    search: Search = Search()
    selection: Literal["validation", "last"] = "validation"
    matched: Matched | None = None
    follow: tuple[TestSplit, ...] = ()
    seeds: tuple[int, ...] = Field(min_length=1)
    measures: tuple[AnyMeasureConfig, ...] = Field(min_length=1)
    published: tuple[Published, ...] = ()
    scales: dict[Name, Changes] = Field(default_factory=dict)

    @property
    def trials(self) -> list[dict[str, float]]:
        """The recipes that ``--search`` tries on every model, the protocol's own first."""
        return self.search.trials(self.recipe.model_dump())

    def recipe_of(self, entry: ModelEntry) -> Recipe:
        """The recipe with what is a model's own."""
        return Recipe.model_validate(self.recipe.model_dump() | entry.recipe)

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("a name is made of small letters, digits, '.', '_' and '-'")
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or min(value) < 0:
            raise ValueError("seeds are different whole numbers, none below 0")
        return value

    @field_validator("measures")
    @classmethod
    def _kinds(cls, value: tuple[MeasureConfig, ...]) -> tuple[MeasureConfig, ...]:
        kinds = [entry.measure for entry in value]
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise ValueError(f"each measure stands once in a benchmark; '{kind}' stands twice")
        return value

    @model_validator(mode="after")
    def _labels(self) -> Self:
        labels = [model.label for model in self.models]
        if len(set(labels)) < len(labels):
            raise ValueError("each model needs a label of its own")
        named = [("published", entry.model) for entry in self.published]
        named += [(entry.measure, label) for entry in self.measures for label in entry.source_models]
        if self.matched and isinstance(self.matched.to, str):
            named.append(("matched.to", self.matched.to))
        for place, label in named:
            if label not in labels:
                raise ValueError(f"{place}: {unknown('model', label, labels)}")
        for model in self.models:
            self.recipe_of(model)
        return self

    @model_validator(mode="after")
    def _followed(self) -> Self:
        if self.matched and self.matched.split not in self.follow:
            raise ValueError(f"matched: name the split '{self.matched.split}' in follow too")
        return self

    @model_validator(mode="after")
    def _published(self) -> Self:
        for entry in self.published:
            if entry.at is not None and (self.vary is None or entry.at not in self.vary.values):
                raise ValueError(f"published: at {entry.at:g} is no value of vary.values")
            if entry.rule == "matched" and self.matched is None:
                raise ValueError("published: a number of rule 'matched' takes the rule itself")
        pairs(self.published)
        return self
