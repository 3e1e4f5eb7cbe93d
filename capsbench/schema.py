"""The schema of a benchmark file, and the overrides that the command line makes to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from capsbench.arguments import one_line
from capsbench.errors import UserError, unknown
from capsbench.measures import MeasureEntry
from capsbench.names import find, from_folder
from capsbench.training.recipe import Recipe
from capsbench.viewpoint.ranges import ViewRange

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataEntry(_Part):
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


class ModelEntry(_Part):
    """A model by name, with its arguments and the label that tables and figures show.

    The label defaults to the name, or to the class alone where the name is a path.
    """

    name: str
    label: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _label(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value.get("label"):
            return {**value, "label": str(value.get("name", "")).rpartition(":")[2]}
        return value

    @field_validator("label")
    @classmethod
    def _no_comma(cls, value: str) -> str:
        if "," in value:
            raise ValueError("a label holds no comma, which separates the labels of --models")
        return value


class Published(_Part):
    """A published number, with its source, what it was selected on and how it is known."""

    model: str
    measure: str
    value: float
    source: str
    selected_on: str
    known_by: Literal["read", "calculated"]


class Benchmark(_Part):
    """A named, versioned protocol: data, views, models, recipe, selection rule, seeds, measures."""

    name: str
    version: int = Field(ge=1)
    title: str
    question: str
    source: str
    data: DataEntry
    views: ViewRange = ViewRange()
    models: tuple[ModelEntry, ...] = Field(min_length=1)
    recipe: Recipe
    selection: Literal["validation", "last"] = "validation"
    seeds: tuple[int, ...] = Field(min_length=1)
    measures: tuple[MeasureEntry, ...] = Field(min_length=1)
    published: tuple[Published, ...] = ()

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
    def _kinds(cls, value: tuple[MeasureEntry, ...]) -> tuple[MeasureEntry, ...]:
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
        for entry in self.measures:
            for label in entry.needs:
                if label not in labels:
                    raise ValueError(f"{entry.measure}: {unknown('model', label, labels)}")
        return self


def load_benchmark(name: str, changes: Mapping[str, Any] | None = None) -> Benchmark:
    """Read a benchmark file and check it.

    Args:
        name: A registered name or the path of a YAML file. In such a file ``net.py:Net`` is looked
            for from the file's own folder.
        changes: Values by dotted path, such as ``{"recipe.steps": 500}``, instead of the file's;
            in them ``net.py:Net`` is looked for from the working directory.

    Raises:
        UserError: The name is unknown, or the file (or a change) does not fit the schema.
    """
    target = find("benchmarks", name)
    path = target.source()
    content = _read(path)
    if target.file is not None:
        _resolve_files(content, path.parent)
    for place, value in (changes or {}).items():
        _put(content, place, value)
    try:
        return Benchmark.model_validate(content)
    except ValidationError as error:
        raise UserError(f"benchmark '{name}' ({path.name}): {_explain(error)}") from None


def parse_changes(pairs: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """Parse ``place=value`` pairs of an option of the command line; values are read as YAML.

    >>> parse_changes(["recipe.steps=500", "views.rotation=[-30, 30]"])
    {'recipe.steps': 500, 'views.rotation': [-30, 30]}
    """
    changes: dict[str, Any] = {}
    for pair in pairs:
        place, equals, value = pair.partition("=")
        if not (equals and place):
            example = "recipe.steps=500" if option == "--set" else "rotation=[-30,30]"
            raise UserError(f"{option} takes place=value, such as {example}; got '{pair}'")
        try:
            changes[place] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"{option} {place}: '{value}' is not a YAML value") from None
    return changes


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not readable"
        raise UserError(f"{path} is not valid YAML:{where} {problem}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping of a benchmark's fields")
    return content


def _resolve_files(content: dict[str, Any], folder: Path) -> None:
    """Make names such as ``net.py:Net`` start from a folder; what is malformed is refused later."""
    models = content.get("models")
    for entry in (content.get("data"), *(models if isinstance(models, list) else ())):
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            entry["name"] = from_folder(folder, entry["name"])


def _put(content: Any, place: str, value: Any) -> None:
    """Set ``content[a][b] = value`` for the place ``a.b``; a number is an index of a list."""
    *parents, last = place.split(".")
    for part in parents:
        if isinstance(content, list):
            content = content[_index(content, part, place)]
        elif isinstance(content, dict):
            content = content.setdefault(part, {})
        else:
            break
    if isinstance(content, list):
        content[_index(content, last, place)] = value
    elif isinstance(content, dict):
        content[last] = value
    else:
        raise UserError(f"--set {place}: nothing can be set below '{parents[-1]}'")


def _index(content: list[Any], part: str, place: str) -> int:
    if not part.isdecimal() or int(part) >= len(content):
        raise UserError(
            f"--set {place}: '{part}' should be an index below {len(content)} of that list"
        )
    return int(part)


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] != "extra_forbidden":
        return one_line(error)
    models: list[type[BaseModel]] = [Benchmark]
    for part in first["loc"][:-1]:  # an index of a list, or a tag, leads nowhere
        found = [model.model_fields[part] for model in models if part in model.model_fields]
        models = [inner for field in found for inner in _models_in(field.annotation)] or models
    fields = [name for model in models for name in model.model_fields]
    close = get_close_matches(str(first["loc"][-1]), fields, n=1)
    place = ".".join(map(str, first["loc"]))
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return f"unknown field '{place}'{hint}"


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The schemas that an annotation such as ``tuple[ModelEntry, ...]`` speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
