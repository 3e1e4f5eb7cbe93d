"""Planning: from a protocol to its cells, each model at each seed, resolved and checked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from capsbench import arguments
from capsbench.contracts import Model
from capsbench.errors import UserError, unknown
from capsbench.names import Target, find, from_folder, table
from capsbench.records.training import DataConfig, ModelConfig, TrainingConfig
from capsbench.running.cell import Cell, build_data, build_model, data_folder
from capsbench.running.resolve_layers import resolve_layers
from capsbench.schema import Benchmark, ModelEntry, variants
from capsbench.training.devices import threads_on
from capsbench.wrapping import model_class
from capsbench.wrapping.trainable import require_trainable


def plan(
    benchmark: Benchmark,
    *,
    models: Sequence[str] | None = None,
    data_root: Path | None = None,
    device: str = "cpu",
) -> list[Cell]:
    """List the cells of a benchmark.

    Args:
        benchmark: The protocol.
        models: Labels or names of the requested models; all if left out.
        data_root: Folder of local data files.
        device: Kind of device, resolved: the threads of a protocol are those of a processor.

    Raises:
        UserError: A name, an argument or a layer is unknown, the data does not have the views of a
            measure, an augmentation does not fit the images, or these are too small for a model.
    """
    selected = select_models(benchmark.models, models)
    cells = []
    labels = [entry.label for entry in selected]
    for at, variant in variants(benchmark).items():
        sources = {label for measure in variant.measures for label in measure.source_models}
        data, folder = resolve_data(variant, data_root)
        trainings = {
            (cell.label, cell.seed): cell
            for entry in variant.models
            if entry.label in labels or entry.label in sources
            for cell in _trainings(variant, entry, data, folder, device, at)
        }
        by_label = {cell.label: cell for cell in trainings.values()}
        others = [entry for entry in variant.models if entry.label not in by_label]
        build = partial(_build_models, variant, others, data, folder, device)
        measures = resolve_layers(
            variant.measures, {label: cell.build_model() for label, cell in by_label.items()}, build
        )
        cells += [
            trainings[label, seed].with_measures(
                measures[label], {source: trainings[source, seed] for source in sources}
            )
            for label in labels
            for seed in variant.seeds
        ]
    return sorted(cells, key=lambda cell: labels.index(cell.label))


def select_models(
    entries: Sequence[ModelEntry], models: Sequence[str] | None
) -> Sequence[ModelEntry]:
    """Return the models of a benchmark with given labels or names; all if ``models`` is None.

    Raises:
        UserError: A name is unknown.
    """
    if models is None:
        return entries
    known = {entry.label for entry in entries} | {entry.name for entry in entries}
    for model in models:
        if model not in known:
            if ":" in model or model in table("models"):
                raise UserError(
                    f"'{model}' is no model of this benchmark; to add it, write +{model}"
                )
            raise unknown("model in this benchmark:", model, known)
    return [entry for entry in entries if entry.label in models or entry.name in models]


def _trainings(
    benchmark: Benchmark,
    entry: ModelEntry,
    data: DataConfig,
    folder: str,
    device: str,
    at: float | None,
) -> list[Cell]:
    """Return a model's trainings, one per seed, in the folder of the data, without measures."""
    target, model = _resolve_model(entry, data)
    cells = []
    recipe = benchmark.recipe_of(entry)
    for seed in benchmark.seeds:
        config = TrainingConfig(
            model=model,
            data=data,
            views=benchmark.views,
            recipe=recipe,
            seed=seed,
            follow=benchmark.follow,
            threads=threads_on(device, benchmark.threads),
            kornia=version("kornia") if recipe.augmentation else None,
        )
        cells.append(
            Cell(
                label=entry.label,
                model=from_folder(Path.cwd(), entry.name),
                data=from_folder(Path.cwd(), benchmark.data.name),
                config=config,
                path=Path(folder, target.slug, f"{seed}-{config.fingerprint}"),
                rule=benchmark.selection,
                at=at,
                case=benchmark.vary.case(at) if benchmark.vary and at is not None else None,
            )
        )
    return cells


def _build_models(
    benchmark: Benchmark,
    entries: Sequence[ModelEntry],
    data: DataConfig,
    folder: str,
    device: str,
) -> list[Model]:
    """Build the networks of entries."""
    trainings = (_trainings(benchmark, each, data, folder, device, None) for each in entries)
    return [cells[0].build_model() for cells in trainings]


def resolve_data(benchmark: Benchmark, data_root: Path | None) -> tuple[DataConfig, str]:
    """Check the data's arguments, the views of every measure, and the augmentations.

    Returns:
        The data, and the name of the folder of its trainings.
    """
    entry, target = benchmark.data, find("datamodules", benchmark.data.name)
    data, given = build_data(entry, benchmark.views, data_root)
    for measure in benchmark.measures:
        for views in measure.required_views:
            data.require_views(views)
    for model in benchmark.models:
        data.require_augmentation(benchmark.recipe_of(model).augmentation)
    config = DataConfig(
        name=target.identity(),
        arguments=given,
        revision=data.revision,
        per_class=entry.per_class,
        identity=data.identity._asdict(),
        image_shape=data.image_shape,
        num_classes=data.num_classes,
    )
    return config, data_folder(target, data)


def _resolve_model(entry: ModelEntry, data: DataConfig) -> tuple[Target, ModelConfig]:
    """Check a model's arguments, and that it can be built and trained, before any training."""
    target = find("models", entry.name)
    cls = model_class(target)
    given: dict[str, Any] = arguments.resolve(
        cls,
        entry.arguments,
        what=f"model '{entry.name}'",
        supplied=arguments.SUPPLIED_TO_MODELS,
    )
    model = build_model(target, data.image_shape, data.num_classes, given)
    require_trainable(model, entry.name)
    return target, ModelConfig(
        name=target.identity(), arguments=given, revision=cls.revision_with(given)
    )
