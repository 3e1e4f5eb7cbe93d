"""Cell: one training with its measures, the unit that is run, stored and resumed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from capsbench import arguments
from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError
from capsbench.measures import MeasureConfig, load_measure
from capsbench.names import Target, find, without_folder
from capsbench.records import CellReference, TrainingConfig
from capsbench.records.benchmark import cell_title
from capsbench.records.measure import measure_fingerprint
from capsbench.schema import DataEntry
from capsbench.schema.benchmark import AnyMeasureConfig
from capsbench.training.recipe import ProtocolRecipe
from capsbench.viewpoint.ranges import ViewRange
from capsbench.wrapping import model_class


class Cell(BaseModel):
    """One training with its measures; plain JSON, so that any process can carry it out.

    Attributes:
        label: Label of the model in tables and figures.
        model: Name or path of the model; the path of a user's own file is absolute.
        data: Name or path of the data module, in the same form.
        config: Everything that determines the training.
        path: Folder of the cell, relative to the runs folder.
        rule: Selection rule of the weights that are measured.
        measures: Measures by the names of their records, ``<measure>-<fingerprint>``.
        sources: Trainings with the same seed that the measures use as well, by label.
        at: Value of what the benchmark varies, or number of the case; None if it varies nothing.
        case: Name of the case, if the benchmark varies cases.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    model: str
    data: str
    config: TrainingConfig
    path: Path
    rule: str
    measures: dict[str, AnyMeasureConfig] = Field(default_factory=dict)
    sources: dict[str, Cell] = Field(default_factory=dict)
    at: float | None = None
    case: str | None = None

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return self.config.seed

    @property
    def recipe(self) -> ProtocolRecipe:
        """Recipe of the training."""
        return self.config.recipe

    @property
    def title(self) -> str:
        """The label, with the value of what the benchmark varies."""
        return cell_title(self.label, self.at if self.case is None else self.case)

    @property
    def reference(self) -> CellReference:
        """The cell as the benchmark's record lists it."""
        return CellReference(
            label=self.label,
            model=without_folder(self.model),
            seed=self.seed,
            path=self.path.as_posix(),
            measures={config.measure: name for name, config in self.measures.items()},
            at=self.at,
            case=self.case,
        )

    def with_measures(self, configs: Sequence[MeasureConfig], sources: Mapping[str, Cell]) -> Cell:
        """Return the training with measures.

        Args:
            configs: The measures.
            sources: Trainings that they may use as well, by label.

        Raises:
            UserError: A measure needs a training that is not among the sources.
        """
        measures: dict[str, MeasureConfig] = {}
        used: dict[str, Cell] = {}
        identities = {label: cell.config.fingerprint for label, cell in sources.items()}
        for config in (each.for_model(self.label) for each in configs):
            if missing := [label for label in config.source_models if label not in sources]:
                raise UserError(
                    f"{config.measure} needs the trained network of '{missing[0]}': name its "
                    f"folder, --source '{missing[0]}=runs/digits/cnn-small/0-0123456789ab'"
                )
            used |= {label: sources[label] for label in config.source_models}
            measures[measure_name(config, self.rule, identities)] = config
        return self.model_copy(update={"measures": measures, "sources": used})

    def build_model(self) -> Model:
        """Build the model, untrained."""
        data, model = self.config.data, self.config.model
        return build_model(
            find("models", self.model), data.image_shape, data.num_classes, model.arguments
        )

    def build_data(self, data_root: Path | None) -> ImageDataModule:
        """Build the data module, with nothing loaded yet."""
        data = self.config.data
        entry = DataEntry(name=self.data, arguments=data.arguments, per_class=data.per_class)
        supplied = {
            "batch_size": self.recipe.batch_size,
            "seed": self.seed,
            "limit": self.recipe.limit,
            "augmentation": self.recipe.augmentation,
        }
        return build_data(entry, self.config.views, data_root, **supplied)[0]


def measure_name(config: MeasureConfig, rule: str, sources: Mapping[str, str]) -> str:
    """Return the name of a measure's record, ``<measure>-<fingerprint>``.

    The fingerprint covers the arguments, the measure's revision, the selection rule and the
    sources.

    Args:
        config: The measure.
        rule: Selection rule of the weights.
        sources: Identity of each source by label, such as the fingerprint of its training.
    """
    target = find("measures", config.measure)
    content = config.model_dump(mode="json") | {"measure": target.identity()}
    revision = load_measure(config.measure).revision
    others = [sources[label] for label in config.source_models]
    return f"{target.slug}-{measure_fingerprint(content, revision, rule, others)}"


def build_model(
    target: Target, image_shape: Sequence[int], num_classes: int, given: Mapping[str, Any]
) -> Model:
    """Build a model from checked arguments."""
    channels, height, width = image_shape
    return model_class(target)(
        image_shape=(channels, height, width), num_classes=num_classes, **given
    )


def data_folder(target: Target, data: ImageDataModule) -> str:
    """Return the name of the folder of all trainings on a data set.

    It is the name of the data module, or the user's own name of a set, with ``-`` in place of
    characters that are no letters, digits, ``_`` or ``-``. Sets of the same name share the folder:
    the fingerprints of their trainings differ. A benchmark of that name shares it as well, because
    its files have other names.

    Args:
        target: The data module's name.
        data: The data module.
    """
    return re.sub(r"[^\w-]+", "-", data.own_name or "").strip("-") or target.slug


def build_data(
    entry: DataEntry, views: ViewRange, data_root: Path | None, **supplied: Any
) -> tuple[ImageDataModule, dict[str, Any]]:
    """Build a data module, with nothing loaded yet.

    Args:
        entry: Its name and arguments.
        views: Views of the training images.
        data_root: Folder of local data files.
        supplied: Further arguments that the framework supplies, such as ``batch_size``.

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
    own = {"views": views, "per_class": entry.per_class, "data_root": data_root}
    return cls.detached(**(checked | own | supplied)), given
