"""Record of a search: the protocol, the design, and every trial with its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from capsbench.fingerprint import fingerprint
from capsbench.names import without_folder
from capsbench.records.folders import Inside, file_name
from capsbench.records.provenance import Provenance
from capsbench.records.record import Command, Label, Record, RecordPart, Seconds, Share
from capsbench.schema import Benchmark, DataEntry, ModelEntry, Search
from capsbench.schema.search import DESIGN, DRAWN, TUNING_SEEDS, TrialValues
from capsbench.search_space import Knob
from capsbench.training.recipe import ProtocolRecipe
from capsbench.viewpoint.ranges import ViewRange


class SearchedProtocol(RecordPart):
    """The part of a protocol that determines the trials of its models.

    Attributes:
        benchmark: Name of the benchmark.
        version: Version of its file.
        scale: Name of the scale; None at full size.
        settings: Changes of the command by dotted place.
        data: The data.
        views: Views of the training and validation images.
        recipe: Recipe of all models; the trials have other learning rates and weight decays.
        selection: Rule that selects the step whose validation accuracy is compared.
        threads: Processor threads of each trial.
    """

    benchmark: str
    version: int
    scale: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    data: DataEntry
    views: ViewRange
    recipe: ProtocolRecipe
    selection: Literal["validation", "last"]
    threads: int

    @classmethod
    def of(
        cls, protocol: Benchmark, scale: str | None, settings: dict[str, Any]
    ) -> SearchedProtocol:
        """Return this part of a protocol.

        Args:
            protocol: The protocol, of one value if it varies something.
            scale: Name of the scale.
            settings: Changes of the command.
        """
        return cls(
            benchmark=protocol.name,
            version=protocol.version,
            scale=scale,
            settings=settings,
            data=protocol.data,
            views=protocol.views,
            recipe=protocol.recipe,
            selection=protocol.selection,
            threads=protocol.threads,
        )


class SearchedModel(RecordPart):
    """A model whose values were searched.

    Attributes:
        label: Label of the model.
        name: Name of the model.
        revision: Revision of the model's class.
        arguments: Arguments of the file that all trials have.
        recipe: Values of the recipe that the file states for this model and all trials have.
        knobs: Searched arguments: ranges, and choices.
    """

    label: Label
    name: str
    revision: int
    arguments: dict[str, Any] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)
    knobs: dict[str, Knob] = Field(default_factory=dict)

    @classmethod
    def of(cls, entry: ModelEntry, knobs: dict[str, Knob], revision: int) -> SearchedModel:
        """Return a model of a file, without values that its trials replace.

        Args:
            entry: The model.
            knobs: Its searched arguments.
            revision: Revision of its class.
        """
        return cls(
            label=entry.label,
            name=without_folder(entry.name),
            revision=revision,
            arguments={k: value for k, value in entry.arguments.items() if k not in knobs},
            recipe={k: value for k, value in entry.recipe.items() if k not in DRAWN},
            knobs=knobs,
        )


class TrialRun(RecordPart):
    """One training of a trial.

    Attributes:
        seed: The tuning seed.
        path: Folder of the training, relative to the runs folder.
        outcome: Outcome of the training.
        accuracy: Validation accuracy at the selected step; None if the training has none.
        seconds: Wall time.
    """

    seed: int
    path: Inside
    outcome: Literal["trained", "diverged", "failed"]
    accuracy: Share | None
    seconds: Seconds


class Trial(RecordPart):
    """Values under trial, and the trainings with them.

    Attributes:
        label: Label of the model.
        recipe: The recipe's values under trial.
        arguments: The model's arguments under trial.
        runs: The training with the first tuning seed; of a finalist, those with all of them.
        chosen: True for the best trial of its model.
    """

    label: Label
    recipe: dict[str, float]
    arguments: dict[str, Any] = Field(default_factory=dict)
    runs: tuple[TrialRun, ...] = Field(min_length=1)
    chosen: bool = False

    @property
    def values(self) -> TrialValues:
        """The values under trial."""
        return TrialValues(self.recipe, self.arguments)

    @property
    def accuracy(self) -> float | None:
        """Mean validation accuracy of all runs; None if the first has none, 0 for another one."""
        if self.runs[0].accuracy is None:
            return None
        return sum(run.accuracy or 0.0 for run in self.runs) / len(self.runs)


class SearchRecord(Record):
    """A search: equal trials of every model, all drawn ahead from one design.

    Attributes:
        protocol: The protocol of the trials.
        search: Number of trials, and the ranges of recipes.
        design: Kind of the design, which all searches have in common.
        seeds: Seeds of the runs of a finalist, the first one of all trials; none is reported.
        models: The models, with their knobs.
        trials: The trials of all models, of each in the order of the design.
        devices: Names of the devices of the trials.
        command: The command that was run.
        provenance: Versions, commit and date of the last trial.
    """

    remedy: ClassVar[str] = "search again with 'capsbench run BENCHMARK --search'"

    protocol: SearchedProtocol
    search: Search
    design: str = DESIGN
    seeds: tuple[int, ...] = TUNING_SEEDS
    models: tuple[SearchedModel, ...]
    trials: tuple[Trial, ...]
    devices: tuple[str, ...]
    command: Command
    provenance: Provenance

    @property
    def name(self) -> str:
        """Name of the record's file: benchmark, size, and a hash of the trainings.

        Benchmark files state it beside the chosen values.
        """
        trained = fingerprint(sorted(run.path for trial in self.trials for run in trial.runs))
        size = file_name(self.size).replace("-", "_")  # so that the benchmark's name ends before it
        return f"{file_name(self.protocol.benchmark)}-{size}-{trained}"

    @property
    def size(self) -> str:
        """One word: ``full``, the name of a scale, or ``changed``."""
        changed = set(self.protocol.settings) - {"seeds"}
        return self.protocol.scale or ("changed" if changed else "full")

    def trials_of(self, label: str) -> list[Trial]:
        """Return the trials of a model, in the order of the design."""
        return [trial for trial in self.trials if trial.label == label]

    def chosen(self, label: str) -> Trial | None:
        """Return the best trial of a model; None if the model was not searched."""
        return next((trial for trial in self.trials_of(label) if trial.chosen), None)

    @property
    def at_edge(self) -> list[str]:
        """Labels of models whose best learning rate is the lowest or highest of their trials."""
        labels = []
        for model in self.models:
            rates = [trial.recipe["learning_rate"] for trial in self.trials_of(model.label)]
            chosen = self.chosen(model.label)
            if chosen and chosen.recipe["learning_rate"] in (min(rates), max(rates)):
                labels.append(model.label)
        return labels

    def applied_to(self, entry: ModelEntry) -> ModelEntry:
        """Return a model with the values of its best trial; unchanged if it was not searched."""
        trial = self.chosen(entry.label)
        return entry if trial is None else with_values(entry, trial.values, self.name)


def is_search_of(name: str, benchmark: str) -> bool:
    """Check if the name of a search's record is that of a search of a benchmark.

    >>> is_search_of("my-net-cpu-0123456789ab", "my-net"), is_search_of("my-net-cpu-01", "my")
    (True, False)
    """
    return name.rsplit("-", 2)[0] == file_name(benchmark)


def with_values(entry: ModelEntry, values: TrialValues, name: str) -> ModelEntry:
    """Return a model with the values of a trial.

    Args:
        entry: The model.
        values: The values.
        name: Name of the record of the search.
    """
    return entry.model_copy(
        update={
            "recipe": entry.recipe | values.recipe,
            "arguments": entry.arguments | values.arguments,
            "tuned": name,
        }
    )


def finalists(trials: Sequence[Trial], search: Search) -> list[Trial]:
    """Return the trials of a model whose first runs have the highest accuracies, the best first.

    Of equal ones the first of the design is better. A trial without an accuracy is none of them.

    Args:
        trials: The trials, in the order of the design.
        search: The search, with the number of finalists.
    """
    ranked = [trial for trial in trials if trial.runs[0].accuracy is not None]
    ranked.sort(key=lambda trial: -(trial.runs[0].accuracy or 0.0))
    return ranked[: search.finalists]


def best(trials: Sequence[Trial], search: Search) -> Trial | None:
    """Return the finalist of the highest mean accuracy; None if no trial has an accuracy."""
    return max(finalists(trials, search), key=lambda trial: trial.accuracy or 0.0, default=None)
