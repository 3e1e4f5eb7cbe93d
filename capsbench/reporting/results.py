"""The typed reader: a benchmark's folder of records in, `Results` out.

Everything that a table, figure or page shows comes from here; nothing is computed again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from zipfile import BadZipFile

import numpy as np
from pydantic import TypeAdapter, ValidationError

from capsbench.arguments import one_line
from capsbench.errors import UserError
from capsbench.records import CellFolder, Row, read_json, read_npz, read_rows
from capsbench.schema import Benchmark
from capsbench.schema.parts import JOINT
from capsbench.training.recipe import Recipe
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Place

ACCURACY_BY_VIEW = "accuracy-by-view"
ACCURACY_BY_SPLIT = "accuracy-by-split"
AVERAGED_ACCURACY = "averaged-accuracy"
RENDERING_ERROR = "rendering-error"
SCALE, MODELS, SEEDS, SEARCH = "scale=", "only=", "seeds=", "search"  # what changes begin with
DATA = ("data=", "data.name=", "data.arguments")  # of changes that make it another set
FULL = "full"
T = TypeVar("T")


@dataclass(frozen=True)
class ViewAccuracy:
    """Accuracy at one view of the grid, over the ``n`` test images that are seen from it."""

    factor: str
    value: float
    key: str
    familiar: bool
    place: Place
    accuracy: float
    n: int


@dataclass(frozen=True)
class Measurement:
    """The outcome of a measure on one cell.

    ``n`` counts test images; ``notes`` say what was left out, and why.
    """

    measure: str
    checkpoint: str
    n: int
    values: dict[str, float]
    device: str
    date: str
    versions: dict[str, str]
    commit: str | None = None
    views: tuple[ViewAccuracy, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selected:
    """What a selection rule chose: the step, and the accuracy on the validation split there."""

    step: int
    accuracy: float | None = None


@dataclass(frozen=True)
class Training:
    """The outcome of a training; ``seconds`` is wall time, ``images`` counts them by split."""

    status: Literal["trained", "diverged"]
    parameters: int
    seconds: float
    execution: dict[str, Any]
    versions: dict[str, str]
    date: str
    diverged_at: int | None = None
    images_per_second: float | None = None
    images: dict[str, int] = field(default_factory=dict)
    selected: dict[str, Selected] = field(default_factory=dict)
    commit: str | None = None


@dataclass(frozen=True)
class Named:
    """A name with its arguments."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Data(Named):
    """The data of a cell; ``image_shape`` is (C, H, W)."""

    identity: dict[str, Any]
    image_shape: tuple[int, int, int]
    num_classes: int


@dataclass(frozen=True)
class Config:
    """What determines a training."""

    fingerprint: str
    model: Named
    data: Data
    views: ViewRange
    recipe: Recipe
    seed: int
    follow: tuple[str, ...] = ()


@dataclass(frozen=True)
class CellEntry:
    """A cell as the benchmark's record lists it.

    Attributes:
        label: What the benchmark calls the model.
        model: The model's name.
        seed: The training's seed.
        path: Its folder, relative to the runs folder.
        measures: The measures' names in records, by measure.
        at: The value of what the benchmark varies; None if it varies nothing.
    """

    label: str
    model: str
    seed: int
    path: str
    measures: dict[str, str]
    at: float | None = None

    @property
    def title(self) -> str:
        """The label, with the value of what the benchmark varies.

        >>> CellEntry("CNN", "cnn-small", 0, "", {}, 30).title
        'CNN · 30'
        """
        return self.label if self.at is None else f"{self.label}{JOINT}{self.at:g}"


@dataclass(frozen=True, kw_only=True)
class Cell(CellEntry):
    """A cell with what its ``folder`` holds so far."""

    folder: CellFolder
    config: Config | None
    training: Training | None
    trajectory: list[Row]
    measurements: dict[str, Measurement]

    @property
    def fingerprint(self) -> str:
        """The training's fingerprint, which also ends the folder's name."""
        return self.path.rpartition("-")[2]

    @property
    def problem(self) -> str | None:
        """Why the cell has no numbers (yet), in a few words; None where it has them."""
        if self.training is None:
            return "not finished yet"
        if self.training.status == "diverged":
            step = self.training.diverged_at
            return "diverged" if step is None else f"diverged at step {step}"
        return None if set(self.measures) <= set(self.measurements) else "not measured yet"


@dataclass(frozen=True)
class ExampleView:
    """A view at which example images are shown."""

    factor: str
    value: float
    familiar: bool


@dataclass(frozen=True)
class ExampleList:
    """What the example images are: V views and the names of the classes of K images."""

    views: tuple[ExampleView, ...]
    classes: tuple[str, ...]


class Trial(NamedTuple):
    """One training of a search for recipes.

    Attributes:
        label: The model's label.
        recipe: What was tried.
        path: The training's folder, relative to the runs folder.
        accuracy: On the validation split, at the selected step; None if the training diverged.
        seconds: Wall time.
        chosen: Whether it is the best of its model.
    """

    label: str
    recipe: dict[str, float]
    path: str
    accuracy: float | None
    seconds: float
    chosen: bool = False


@dataclass(frozen=True)
class SearchRecord:
    """A search for recipes: the seed of all of its trials, and the trials."""

    seed: int
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Protocol:
    """A benchmark's own record: what was asked for, and the cells that answer it."""

    benchmark: Benchmark
    changes: tuple[str, ...]
    command: str
    date: str
    cells: tuple[CellEntry, ...]
    commit: str | None = None
    examples: ExampleList | None = None
    search: SearchRecord | None = None

    @property
    def size(self) -> str:
        """In a word: ``full``, the name of a scale, or ``changed``.

        Fewer of its models or seeds are still the shipped protocol.
        """
        named = [c.removeprefix(SCALE) for c in self.changes if c.startswith(SCALE)]
        if named:
            return named[0]
        return FULL if all(c.startswith((MODELS, SEEDS)) for c in self.changes) else "changed"

    @property
    def other_data(self) -> bool:
        """Whether another data set is in the place of the shipped protocol's."""
        return any(change.startswith(DATA) for change in self.changes)

    @property
    def circumstances(self) -> str:
        """What is added to a verdict that is not of the shipped protocol."""
        size = "" if self.size == FULL else f", at this scale ({self.size})"
        return size + (f", on {self.benchmark.data.name}" if self.other_data else "")


@dataclass(frozen=True)
class Results:
    """All that a report shows.

    Attributes:
        protocol: The benchmark's own record.
        cells: The cells with their contents, in the order of the record.
        examples: (V, K, C, H, W) uint8, the images of ``protocol.examples``.
    """

    protocol: Protocol
    cells: tuple[Cell, ...]
    examples: np.ndarray[Any, np.dtype[np.uint8]] | None

    @property
    def benchmark(self) -> Benchmark:
        """The resolved benchmark."""
        return self.protocol.benchmark

    def by_label(self, at: float | None = None) -> dict[str, list[Cell]]:
        """The cells of each title, in the order of their first appearance.

        A title is the label of a model; of a benchmark that varies something, with the value.

        Args:
            at: The only value that is wanted of what the benchmark varies; all if left out.
        """
        groups: dict[str, list[Cell]] = {}
        for cell in self.cells:
            if at is None or cell.at == at:
                groups.setdefault(cell.title, []).append(cell)
        return groups

    def places(self) -> dict[str, int]:
        """Of each title the model's place in the list, for its colour: one for all its values."""
        labels = list(dict.fromkeys(cell.label for cell in self.cells))
        return {title: labels.index(cells[0].label) for title, cells in self.by_label().items()}

    def asks(self, measure: str) -> bool:
        """Whether the benchmark asks for a measure."""
        return any(entry.measure == measure for entry in self.benchmark.measures)

    def factors(self) -> list[str]:
        """The factors whose curves are drawn, in the order of the grid.

        None where the benchmark varies something: there would be a curve for each of its values.
        """
        if self.benchmark.vary:
            return []
        found: dict[str, None] = {}
        for cell in self.cells:
            if measurement := cell.measurements.get(ACCURACY_BY_VIEW):
                found.update(dict.fromkeys(view.factor for view in measurement.views))
        return list(found)

    def data(self) -> Data | None:
        """What the cells were trained on, once one has begun."""
        return next((cell.config.data for cell in self.cells if cell.config), None)


def load(folder: Path) -> Results:
    """Read a benchmark's folder and the cells that it lists.

    Cells may be unfinished, diverged or not measured yet.

    Args:
        folder: ``runs/<benchmark>``.

    Raises:
        UserError: There is no record, or one is damaged.
    """
    path = folder / "benchmark.json"
    if not path.is_file():
        raise UserError(f"{folder} holds no benchmark.json: it is not the folder of a benchmark")
    protocol = _record(Protocol, path)
    cells = tuple(load_cell(folder.parent, entry) for entry in protocol.cells)
    return Results(protocol, cells, _examples(folder / "examples.npz", protocol.examples))


def read_training(folder: CellFolder) -> Training:
    """Read the outcome of a training.

    Raises:
        UserError: The record is damaged.
    """
    return _record(Training, folder.training)


def _record(cls: type[T], path: Path) -> T:
    content = read_json(path)
    try:
        return TypeAdapter(cls).validate_python(content)
    except ValidationError as error:
        raise _damaged(path, one_line(error)) from None


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} is damaged ({why}); remove it and run the benchmark again")


def load_cell(runs: Path, entry: CellEntry) -> Cell:
    """Read what a cell's folder holds so far.

    Raises:
        UserError: A record is damaged.
    """
    folder = CellFolder(runs / entry.path)
    measures = {measure: folder.measure(name) for measure, name in entry.measures.items()}
    return Cell(
        **vars(entry),
        folder=folder,
        config=_record(Config, folder.config) if folder.config.is_file() else None,
        training=read_training(folder) if folder.training.is_file() else None,
        trajectory=_trajectory(folder.trajectory),
        measurements={
            measure: _record(Measurement, path)
            for measure, path in measures.items()
            if path.is_file()
        },
    )


def _trajectory(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    try:
        return read_rows(path)
    except (ValueError, TypeError):  # text that is no number; a row with too few columns
        raise _damaged(path, "not rows of numbers") from None


def _examples(path: Path, listed: ExampleList | None) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    if listed is None or not path.is_file():
        return None
    try:
        images = read_npz(path)["images"]
    except (ValueError, KeyError, EOFError, BadZipFile):
        raise _damaged(path, "no array of images") from None
    expected = (len(listed.views), len(listed.classes))
    if images.dtype != np.uint8 or images.ndim != 5 or images.shape[:2] != expected:
        raise _damaged(path, f"expected {expected} uint8 images, got {images.shape}")
    return images
