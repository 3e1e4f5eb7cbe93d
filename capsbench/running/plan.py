"""From a benchmark to its cells: each model at each seed, resolved, with a fingerprint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capsbench import arguments
from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError, unknown
from capsbench.measures import MeasureEntry
from capsbench.names import Target, find, from_folder
from capsbench.records import fingerprint
from capsbench.reporting.results import CellEntry
from capsbench.running.own_layers import own_layers
from capsbench.schema import Benchmark, DataEntry, ModelEntry, variants
from capsbench.training.recipe import Recipe
from capsbench.viewpoint.ranges import ViewRange


@dataclass(frozen=True)
class Cell:
    """One training with its measures.

    Attributes:
        label: What tables and figures call the model.
        model: The model's name by which it is found; the path of a user's own file is absolute.
        data: The data module's name, likewise.
        seed: The training's seed.
        config: What determines the training, as plain JSON; the fingerprint is made of it.
        path: The cell's folder, relative to the output folder.
        rule: The selection rule whose weights are measured.
        measures: The measures, by ``<measure>-<fingerprint>``.
        sources: Trainings with the same seed that the measures look at too, by label.
        at: The value of what the benchmark varies; None if it varies nothing.
    """

    label: str
    model: str
    data: str
    seed: int
    config: dict[str, Any]
    path: Path
    rule: str
    measures: dict[str, MeasureEntry]
    sources: Mapping[str, Cell] = field(default_factory=dict)
    at: float | None = None

    @property
    def title(self) -> str:
        """The label, with the value of what the benchmark varies."""
        return self.entry.title

    @property
    def recipe(self) -> Recipe:
        """The recipe of the training."""
        return Recipe.model_validate(self.config["recipe"])

    @property
    def record(self) -> dict[str, Any]:
        """The contents of ``config.json``."""
        return {"fingerprint": fingerprint(self.config), **self.config}

    @property
    def entry(self) -> CellEntry:
        """The cell as the benchmark's record lists it."""
        return CellEntry(
            label=self.label,
            model=Path(self.model).name,  # of a user's own file, not where it lies
            seed=self.seed,
            path=self.path.as_posix(),
            measures={entry.measure: name for name, entry in self.measures.items()},
            at=self.at,
        )

    def build_model(self) -> Model:
        """Make the model, untrained."""
        data, model = self.config["data"], self.config["model"]
        return _build(
            find("models", self.model), data["image_shape"], data["num_classes"], model["arguments"]
        )

    def build_data(self, data_root: Path | None) -> ImageDataModule:
        """Make the data module, with nothing loaded yet."""
        entry = DataEntry(
            name=self.data,
            arguments=self.config["data"]["arguments"],
            per_class=self.config["data"]["per_class"],
        )
        views = ViewRange.model_validate(self.config["views"])
        more = {"batch_size": self.recipe.batch_size, "seed": self.seed, "limit": self.recipe.limit}
        return build_data(entry, views, data_root, **more)[0]


def plan(
    benchmark: Benchmark,
    *,
    models: Sequence[str] | None = None,
    data_root: Path | None = None,
) -> list[Cell]:
    """List the cells of a benchmark.

    Args:
        benchmark: The protocol.
        models: Labels or names of the models that are wanted; all if left out.
        data_root: Folder of data files at hand.

    Raises:
        UserError: A name or an argument is unknown, a layer too, the data does not have views
            that are asked for, or the images are too small for a model.
    """
    chosen = wanted(benchmark.models, models)
    needed = {label for measure in benchmark.measures for label in measure.needs}
    cells = []
    for at, variant in variants(benchmark).items():
        data = _resolve_data(variant, data_root)
        trainings = {
            (cell.label, cell.seed): cell
            for entry in variant.models
            if entry in chosen or entry.label in needed
            for cell in _trainings(variant, entry, data, at)
        }
        built = {cell.label: cell for cell in trainings.values()}
        measures = own_layers(
            variant.measures, {label: cell.build_model() for label, cell in built.items()}
        )
        cells += [
            with_measures(
                trainings[entry.label, seed],
                measures[entry.label],
                {label: trainings[label, seed] for label in needed},
            )
            for entry in chosen
            for seed in variant.seeds
        ]
    return sorted(cells, key=lambda cell: [entry.label for entry in chosen].index(cell.label))


def with_measures(
    training: Cell, entries: Sequence[MeasureEntry], sources: Mapping[str, Cell]
) -> Cell:
    """A training with measures.

    Args:
        training: It.
        entries: The measures.
        sources: Trainings that they look at too, by label, and perhaps more.

    Raises:
        UserError: A measure needs a training that is not there.
    """
    found: dict[str, MeasureEntry] = {}
    used: dict[str, Cell] = {}
    for entry in (each.of(training.label) for each in entries):
        if missing := [label for label in entry.needs if label not in sources]:
            raise UserError(
                f"{entry.measure} needs the trained network of '{missing[0]}': name its folder, "
                f"--source '{missing[0]}=runs/digits/cnn-small/0-0123456789ab'"
            )
        used |= {label: sources[label] for label in entry.needs}
        found[measure_name(entry, training.rule, sources)] = entry
    return replace(training, measures=found, sources=used)


def _trainings(
    benchmark: Benchmark, entry: ModelEntry, data: dict[str, Any], at: float | None
) -> list[Cell]:
    """A model's trainings, one for each seed, without measures."""
    cells = []
    target, resolved = _resolve_model(entry, data)
    recipe = benchmark.recipe_of(entry)
    for seed in benchmark.seeds:
        config = {
            "model": {"name": target.identity(), "arguments": resolved},
            "data": data,
            "views": benchmark.views.model_dump(mode="json"),
            "recipe": recipe.model_dump(mode="json"),
            "follow": list(benchmark.follow),
            "seed": seed,
        }
        folder = f"{seed}-{fingerprint(config)}"
        cells.append(
            Cell(
                label=entry.label,
                model=from_folder(Path.cwd(), entry.name),
                data=from_folder(Path.cwd(), benchmark.data.name),
                seed=seed,
                config=config,
                path=Path(find("datamodules", benchmark.data.name).slug, target.slug, folder),
                rule=benchmark.selection,
                measures={},
                at=at,
            )
        )
    return cells


def measure_name(entry: MeasureEntry, rule: str, sources: Mapping[str, Cell]) -> str:
    """A measure's name in records: its arguments and whose weights it looks at are in the print."""
    others = [sources[label].record["fingerprint"] for label in entry.needs]
    return f"{entry.measure}-{fingerprint([entry.model_dump(mode='json'), rule, *others])}"


def wanted(entries: Sequence[ModelEntry], models: Sequence[str] | None) -> Sequence[ModelEntry]:
    """The models of a benchmark that are named, by label or by name; all if none are.

    Raises:
        UserError: A name is unknown.
    """
    if models is None:
        return entries
    known = {entry.label for entry in entries} | {entry.name for entry in entries}
    for model in models:
        if model not in known:
            raise unknown("model in this benchmark:", model, known)
    return [entry for entry in entries if entry.label in models or entry.name in models]


def build_data(
    entry: DataEntry, views: ViewRange, data_root: Path | None, **more: Any
) -> tuple[ImageDataModule, dict[str, Any]]:
    """Make a data module, with nothing loaded yet.

    Args:
        entry: Its name and arguments.
        views: The views of training.
        data_root: Folder of data files at hand.
        more: What else the framework supplies.

    Returns:
        The data module, and its arguments with defaults filled in.

    Raises:
        UserError: The name or an argument is unknown, or the set does not record such views.
    """
    target = find("datamodules", entry.name)
    cls: type[ImageDataModule] = target.load_subclass(ImageDataModule)
    what = f"data module '{entry.name}'"
    given = arguments.resolve(cls, entry.arguments, what=what, supplied=arguments.SUPPLIED_TO_DATA)
    checked = arguments.typed(cls, given, what=what)
    supplied = {"views": views, "per_class": entry.per_class, "data_root": data_root, **more}
    return target.load()(**(checked | supplied)), given


def _resolve_data(benchmark: Benchmark, data_root: Path | None) -> dict[str, Any]:
    entry = benchmark.data
    data, given = build_data(entry, benchmark.views, data_root)
    for measure in benchmark.measures:
        for views in measure.asked:
            data.require(views)
    return {
        "name": find("datamodules", entry.name).identity(),
        "arguments": given,
        "per_class": entry.per_class,
        "identity": data.identity._asdict(),
        "image_shape": list(data.image_shape),
        "num_classes": data.num_classes,
    }


def _resolve_model(entry: ModelEntry, data: dict[str, Any]) -> tuple[Target, dict[str, Any]]:
    """Check a model's arguments, and that it can be built for the images, before any training."""
    target = find("models", entry.name)
    what = f"model '{entry.name}'"
    cls = target.load_subclass(Model)
    resolved = arguments.resolve(
        cls, entry.arguments, what=what, supplied=arguments.SUPPLIED_TO_MODELS
    )
    _build(target, data["image_shape"], data["num_classes"], resolved)
    return target, resolved


def _build(target: Target, shape: Sequence[int], classes: int, given: dict[str, Any]) -> Model:
    model: Model = target.load()(image_shape=tuple(shape), num_classes=classes, **given)
    return model
