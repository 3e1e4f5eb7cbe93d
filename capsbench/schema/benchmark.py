"""Schema of a benchmark file."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from capsbench.errors import UserError, unknown
from capsbench.measures import MeasureConfig, Name, TestSplit, parse_config
from capsbench.schema.parts import (
    Changes,
    DataEntry,
    Matched,
    ModelEntry,
    Published,
    SchemaModel,
    Variation,
    pairs,
    point_text,
)
from capsbench.schema.quantities import require_quantity
from capsbench.schema.search import TUNING_SEEDS, Search
from capsbench.training.recipe import ProtocolRecipe
from capsbench.viewpoint.ranges import ViewRange

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
AnyMeasureConfig = Annotated[SerializeAsAny[MeasureConfig], BeforeValidator(parse_config)]


class Benchmark(SchemaModel):
    """A named, versioned protocol: data, views, models, recipe, selection rule, seeds, measures.

    Attributes:
        conflicts: Points on which the sources disagree or are silent, and the choice made here, a
            sentence each.
        related: Reports on other networks or protocols, a sentence each; not comparable with any
            number measured here.
        expected: Expected time, and the hardware.
        follow: Test splits whose accuracy is logged during the training; used by the ``matched``
            rule, never for model selection.
        threads: Processor threads of each training and its measures, if they run on a processor.
            Sums are divided among threads, so that other numbers of threads round otherwise.
        scales: Changes by name of the scale, for ``--scale``: the protocol at another size.
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
    recipe: ProtocolRecipe
    search: Search = Search()
    selection: Literal["validation", "last"] = "validation"
    matched: Matched | None = None
    follow: tuple[TestSplit, ...] = ()
    seeds: tuple[int, ...] = Field(min_length=1)
    threads: int = Field(default=1, ge=1, le=1024)  # OpenMP ends a process that asks for too many
    measures: tuple[AnyMeasureConfig, ...] = Field(min_length=1)
    published: tuple[Published, ...] = ()
    scales: dict[Name, Changes] = Field(default_factory=dict)

    @property
    def is_tuned(self) -> bool:
        """True if all models have values of a search."""
        return all(entry.tuned for entry in self.models)

    def recipe_of(self, entry: ModelEntry) -> ProtocolRecipe:
        """Return the recipe of a model, with its own values."""
        return ProtocolRecipe.model_validate(self.recipe.model_dump() | entry.recipe)

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("a name consists of lower-case letters, digits, '.', '_' and '-'")
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or min(value) < 0:
            raise ValueError("seeds must be different whole numbers, none below 0")
        return value

    @field_validator("measures")
    @classmethod
    def _kinds(cls, value: tuple[MeasureConfig, ...]) -> tuple[MeasureConfig, ...]:
        kinds = [entry.measure for entry in value]
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise ValueError(
                    f"a measure may appear once in a benchmark; '{kind}' appears twice"
                )
        return value

    @model_validator(mode="after")
    def _labels(self) -> Self:
        labels = [model.label for model in self.models]
        for number, (model, label) in enumerate(zip(self.models, labels, strict=True)):
            if label in labels[:number]:
                other = self.models[labels.index(label)].name
                raise ValueError(
                    f"each model needs a different label, but '{label}' is that of {other} and of "
                    f"{model.name}; give one of its own, such as "
                    f"{{name: {model.name}, label: {label} 2}}"
                )
        references = [("published", entry.model) for entry in self.published]
        references += [
            (entry.measure, label) for entry in self.measures for label in entry.source_models
        ]
        if self.matched and isinstance(self.matched.to, str):
            references.append(("matched.to", self.matched.to))
        for place, label in references:
            if label not in labels:
                raise ValueError(f"{place}: {unknown('model', label, labels)}")
        for model in self.models:
            self.recipe_of(model)
        return self

    @model_validator(mode="after")
    def _tuned(self) -> Self:
        if any(model.tuned for model in self.models) and max(self.seeds) >= TUNING_SEEDS[0]:
            raise ValueError(
                f"seeds: models were tuned with seed {TUNING_SEEDS[0]}; report smaller seeds, got "
                f"{max(self.seeds)}"
            )
        if self.vary and self.search.at is not None and self.search.at not in self.vary.points:
            known = ", ".join(map(point_text, self.vary.points))
            raise ValueError(
                f"search.at: {point_text(self.search.at)} is no value or case of vary; "
                f"known: {known}"
            )
        return self

    @model_validator(mode="after")
    def _followed(self) -> Self:
        if self.matched and self.matched.split not in self.follow:
            raise ValueError(f"matched: add the split '{self.matched.split}' to follow")
        return self

    @model_validator(mode="after")
    def _published(self) -> Self:
        for entry in self.published:
            try:
                require_quantity(entry.measure, entry.quantity, self.measures)
            except UserError as error:
                raise ValueError(f"published: {error}") from None
            points = self.vary.points if self.vary else {}
            if entry.at is not None and entry.at not in points:
                known = ", ".join(map(point_text, points)) or "none, as nothing is varied"
                raise ValueError(
                    f"published: at {point_text(entry.at)} is no value or case of vary; "
                    f"known: {known}"
                )
            if entry.rule == "matched" and self.matched is None:
                raise ValueError("published: a number of rule 'matched' needs a 'matched' section")
        pairs(self.published)
        return self
