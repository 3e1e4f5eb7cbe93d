"""Record of a benchmark: its protocol, the command, and the list of its cells."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, field_validator

from capsbench.records.folders import FileName, Inside
from capsbench.records.provenance import Provenance
from capsbench.records.record import Command, Label, Record, RecordPart
from capsbench.records.search import SearchRecord
from capsbench.schema import Benchmark, ModelEntry
from capsbench.schema.parts import (
    LABEL_SEPARATOR,
    TRAINED_ELSEWHERE,
    Point,
    point_text,
)
from capsbench.viewpoint.factors import FACTORS

FULL = "full"


class ProtocolChanges(RecordPart):
    """Changes of a command to the shipped protocol; without any, it is the shipped one.

    Attributes:
        scale: Name of the scale; None at full size.
        settings: Values by dotted place, such as ``{"recipe.steps": 500}``.
        models: Labels or names of the requested models of the file; None for all.
        added: Models that were added to those of the file.
        search: True if a search chose the recipes.
        claims: Name of the claims, at their scale, that the benchmark is a part of.
    """

    scale: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    models: tuple[str, ...] | None = None
    added: tuple[ModelEntry, ...] = ()
    search: bool = False
    claims: str | None = None

    @property
    def requested_models(self) -> tuple[str, ...] | None:
        """Labels or names of all requested models, the added ones too; None for all."""
        if self.models is None:
            return None
        return (*self.models, *(entry.label for entry in self.added))


class CellReference(RecordPart):
    """A cell as the benchmark's record lists it.

    Attributes:
        label: Label of the model.
        model: Name of the model.
        seed: Seed of the training; None for a model that was trained elsewhere.
        path: Folder of the cell, relative to the runs folder.
        measures: Names of the measures' records, ``<measure>-<fingerprint>``, by measure.
        at: Value of what the benchmark varies, or number of the case; None if it varies nothing.
        case: Name of the case, if the benchmark varies cases.
    """

    label: Label
    model: str
    seed: int | None
    path: Inside
    measures: dict[str, FileName]
    at: float | None = None
    case: str | None = None

    @property
    def point(self) -> Point | None:
        """Value of what the benchmark varies, or name of the case; None if it varies nothing."""
        return self.at if self.case is None else self.case

    @property
    def trained_elsewhere(self) -> bool:
        """True if the model was not trained under the protocol."""
        return self.seed is None

    @property
    def title(self) -> str:
        """The label, with the value of what the benchmark varies, the case, or the other origin.

        >>> CellReference(label="CNN", model="cnn-small", seed=0, path="", measures={}, at=30).title
        'CNN · 30'
        """
        if self.trained_elsewhere:
            return f"{self.label} ({TRAINED_ELSEWHERE})"
        return cell_title(self.label, self.point)

    @property
    def fingerprint(self) -> str:
        """The training's fingerprint, which ends the folder's name."""
        return self.path.rpartition("-")[2]


def cell_title(label: str, point: Point | None) -> str:
    """Return the label of a model, with the value or case of what the benchmark varies, if any."""
    return label if point is None else f"{label}{LABEL_SEPARATOR}{point_text(point)}"


def _known_factor(name: str) -> str:
    if name not in FACTORS:
        raise ValueError(f"expected a factor, one of {', '.join(FACTORS)}")
    return name


class ExampleView(RecordPart):
    """A view at which example images are drawn."""

    factor: Annotated[str, AfterValidator(_known_factor)]
    value: float
    familiar: bool


class ExampleList(RecordPart):
    """Contents of the example images: V views, and the class names of K images at each.

    Attributes:
        views: The views.
        classes: The class name of each of the K images.
        numbers: (V, K) each image's number in its source; -1 where a class has no image at a view.
            Empty in records from before November 30, 2026.
        class_names: Names of all classes; empty in the same records.
        sha256: SHA-256 of the file of images; None in records from before November 29, 2026.
    """

    views: tuple[ExampleView, ...]
    classes: tuple[str, ...]
    sha256: str | None = None
    numbers: tuple[tuple[int, ...], ...] = ()
    class_names: tuple[str, ...] = ()


class CellList(Record):
    """Cells and examples of a benchmark's record, whose protocol can name code that is not trusted.

    Attributes:
        cells: The cells.
        examples: Contents of the example images; None if there are none.
    """

    model_config = ConfigDict(extra="ignore")

    cells: tuple[CellReference, ...]
    examples: ExampleList | None = None


class BenchmarkRecord(Record):
    """Protocol of a benchmark with its cells.

    Attributes:
        benchmark: The resolved protocol.
        changes: Changes to the shipped protocol.
        command: The command that was run.
        cells: The cells.
        examples: Contents of the example images; None if there are none.
        search: The search that chose the recipes; None if there was none.
        provenance: Versions, commit and date.
    """

    benchmark: Benchmark
    changes: ProtocolChanges = ProtocolChanges()
    command: Command
    cells: tuple[CellReference, ...]
    examples: ExampleList | None = None
    search: SearchRecord | None = None
    provenance: Provenance

    @field_validator("benchmark", mode="before")
    @classmethod
    def _without_grid(cls, value: Any) -> Any:
        """Leave out the grid of recipes that protocols had until November 29, 2026."""
        if isinstance(value, dict) and "trials" not in (value.get("search") or {}):
            return {name: each for name, each in value.items() if name != "search"}
        return value

    @property
    def is_checksummed(self) -> bool:
        """True if it states the SHA-256 of its example images, as only such records do."""
        return self.examples is not None and self.examples.sha256 is not None

    @property
    def changed_values(self) -> dict[str, Any]:
        """Values by dotted place that are not the shipped ones, those of the scale first."""
        scale = self.changes.scale
        return ({} if scale is None else self.benchmark.scales[scale]) | self.changes.settings

    @property
    def change_texts(self) -> tuple[str, ...]:
        """The changes as texts for readers; empty for the shipped protocol."""
        changes = self.changes
        texts = [] if changes.claims is None else [f"part of {changes.claims}"]
        texts += [] if changes.scale is None else [f"scale={changes.scale}"]
        texts += [
            f"{place}={value if isinstance(value, str) else json.dumps(value)}"
            for place, value in self.changed_values.items()
            # Models and measures of scales and claims are long; the page describes the protocol.
            if not (isinstance(value, list | tuple) and any(isinstance(v, dict) for v in value))
            or (changes.claims is None and place in changes.settings)
        ]
        texts += [] if changes.models is None else [f"only={','.join(changes.models)}"]
        texts += [f"added={entry.label}" for entry in changes.added]
        return (*texts, "search") if changes.search else tuple(texts)

    @property
    def change_title(self) -> str:
        """A sentence on the kind of the changes, for readers."""
        if self.size == FULL:
            return "This is the protocol of the benchmark's file with other models or seeds."
        return "This is not the protocol as published in the benchmark's file."

    @property
    def size(self) -> str:
        """One word: ``full``, the name of a scale, or ``changed``.

        A subset of the models, added models or other seeds are still the shipped protocol.
        """
        changes = self.changes
        if changes.scale is not None:
            return changes.scale
        same = changes.settings.keys() <= {"seeds"} and not changes.search and not changes.claims
        return FULL if same else "changed"

    @property
    def other_data(self) -> bool:
        """True if another data set replaces that of the shipped protocol."""
        return any(
            place in ("data", "data.name") or place.startswith("data.arguments")
            for place in self.changed_values
        )
