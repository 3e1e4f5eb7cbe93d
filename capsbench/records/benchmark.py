"""Record of a benchmark: its protocol, the command, and the list of its cells."""

from __future__ import annotations

from capsbench.records.provenance import Provenance
from capsbench.records.record import Record, RecordPart
from capsbench.schema import Benchmark
from capsbench.schema.parts import LABEL_SEPARATOR

# Prefixes of `BenchmarkRecord.changes`.
SCALE, MODELS, SEEDS, SEARCH = "scale=", "only=", "seeds=", "search"
DATA = ("data=", "data.name=", "data.arguments")  # changes to another data set
FULL = "full"


class CellReference(RecordPart):
    """A cell as the benchmark's record lists it.

    Attributes:
        label: Label of the model.
        model: Name of the model.
        seed: Seed of the training.
        path: Folder of the cell, relative to the runs folder.
        measures: Names of the measures' records, ``<measure>-<fingerprint>``, by measure.
        at: Value of what the benchmark varies; None if it varies nothing.
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

        >>> CellReference(label="CNN", model="cnn-small", seed=0, path="", measures={}, at=30).title
        'CNN · 30'
        """
        return self.label if self.at is None else f"{self.label}{LABEL_SEPARATOR}{self.at:g}"

    @property
    def fingerprint(self) -> str:
        """The training's fingerprint, which ends the folder's name."""
        return self.path.rpartition("-")[2]


class ExampleView(RecordPart):
    """A view at which example images are drawn."""

    factor: str
    value: float
    familiar: bool


class ExampleList(RecordPart):
    """Contents of the example images: V views, and the class names of K images at each."""

    views: tuple[ExampleView, ...]
    classes: tuple[str, ...]


class Trial(RecordPart):
    """One training of a search for recipes.

    Attributes:
        label: Label of the model.
        recipe: The recipe's values under trial.
        path: Folder of the training, relative to the runs folder.
        accuracy: Validation accuracy at the selected step; None if the training diverged.
        seconds: Wall time.
        chosen: True for the best trial of its model.
    """

    label: str
    recipe: dict[str, float]
    path: str
    accuracy: float | None
    seconds: float
    chosen: bool = False


class SearchRecord(RecordPart):
    """A search for recipes: the seed of all trials, and the trials."""

    seed: int
    trials: tuple[Trial, ...]


class BenchmarkRecord(Record):
    """Protocol of a benchmark with its cells.

    Attributes:
        benchmark: The resolved protocol.
        changes: Differences to the shipped protocol, in words.
        command: The command that was run.
        cells: The cells.
        examples: Contents of the example images; None if there are none.
        search: The search that chose the recipes; None if there was none.
        provenance: Versions, commit and date.
    """

    benchmark: Benchmark
    changes: tuple[str, ...] = ()
    command: str
    cells: tuple[CellReference, ...]
    examples: ExampleList | None = None
    search: SearchRecord | None = None
    provenance: Provenance

    @property
    def size(self) -> str:
        """One word: ``full``, the name of a scale, or ``changed``.

        A subset of the models or seeds is still the shipped protocol.
        """
        scales = [c.removeprefix(SCALE) for c in self.changes if c.startswith(SCALE)]
        if scales:
            return scales[0]
        return FULL if all(c.startswith((MODELS, SEEDS)) for c in self.changes) else "changed"

    @property
    def other_data(self) -> bool:
        """True if another data set replaces that of the shipped protocol."""
        return any(change.startswith(DATA) for change in self.changes)
