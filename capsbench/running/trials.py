"""Trials of a search: the cells of every model, planned before any is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from capsbench.errors import UserError, unknown
from capsbench.names import find, without_folder
from capsbench.records.search import SearchedModel, with_values
from capsbench.running.cell import Cell
from capsbench.running.plan import plan, select_models
from capsbench.schema import Benchmark, ModelEntry, Search, searched_variant
from capsbench.schema.search import TUNING_SEEDS, TrialValues
from capsbench.search_space import Knob, checked_knobs
from capsbench.wrapping import model_class


@dataclass(frozen=True)
class PlannedTrial:
    """One trial.

    Attributes:
        values: The values under trial.
        cells: Trainings with them, one for each tuning seed; only finalists need all of them.
    """

    values: TrialValues
    cells: list[Cell]


@dataclass(frozen=True)
class ModelTrials:
    """Trials of one model.

    Attributes:
        model: The model, with its searched knobs.
        trials: The trials, in the order of the design.
    """

    model: SearchedModel
    trials: list[PlannedTrial]


def plan_trials(
    benchmark: Benchmark, models: Sequence[str] | None, data_root: Path | None, device: str
) -> list[ModelTrials]:
    """List the trials of the models that are searched.

    These are the named ones; if none is named, all that have no values of an earlier search. The
    trials of a model depend neither on the other models nor on earlier values of its own.

    Args:
        benchmark: The protocol.
        models: Labels or names of models; None if none is named.
        data_root: Folder of local data files.
        device: Kind of device, resolved.

    Raises:
        UserError: All models have values of an earlier search, the benchmark varies something and
            names no value for the search, or reports the seed of the trials, a knob does not fit
            the model, or no model has a fixed knob.
    """
    if max(benchmark.seeds) >= TUNING_SEEDS[0]:
        raise UserError(
            f"--search trains with seed {TUNING_SEEDS[0]}, and seeds from there on are not "
            f"reported: expected smaller seeds, got {max(benchmark.seeds)}; name others by --seeds"
        )
    protocol = searched_variant(benchmark)
    entries = select_models(protocol.models, models)
    if models is None:
        entries = [entry for entry in entries if not entry.tuned]
    if not entries:
        raise UserError(
            f"all models of {benchmark.name} are tuned already; name those to be tuned again by "
            "--models"
        )
    known = {knob for entry in protocol.models for knob in _knobs(entry)}
    for name in protocol.search.fixed:
        if name not in known:
            raise unknown("search.fixed: knob of the benchmark's models:", name, known)
    return [_trials_of(protocol, entry, data_root, device) for entry in entries]


def first_runs(planned: Sequence[ModelTrials]) -> list[Cell]:
    """Return the first training of every trial."""
    return [trial.cells[0] for each in planned for trial in each.trials]


def num_repeated(planned: Sequence[ModelTrials], search: Search) -> int:
    """Return how many trainings of finalists follow the first ones of all trials, at most."""
    if search.finalists == 1:
        return 0
    return sum(len(t.cells[1:]) for each in planned for t in each.trials[: search.finalists])


def _knobs(entry: ModelEntry) -> dict[str, Knob]:
    cls = model_class(find("models", entry.name))
    return checked_knobs(cls, cls.knobs, what=f"model '{without_folder(entry.name)}'")


def _trials_of(
    protocol: Benchmark, entry: ModelEntry, data_root: Path | None, device: str
) -> ModelTrials:
    knobs = protocol.search.free(_knobs(entry))
    revision = model_class(find("models", entry.name)).revision_with(entry.arguments)
    trials = [
        PlannedTrial(
            values,
            plan(_protocol_of(protocol, entry, values), data_root=data_root, device=device),
        )
        for values in protocol.search.draw(knobs)
    ]
    return ModelTrials(SearchedModel.of(entry, knobs, revision), trials)


def _protocol_of(protocol: Benchmark, entry: ModelEntry, values: TrialValues) -> Benchmark:
    """Return the protocol of one trial: one model, the tuning seeds, and no test images."""
    return protocol.model_copy(
        update={
            "models": (with_values(entry, values, ""),),
            "seeds": TUNING_SEEDS,
            "measures": (),
            "follow": (),
            "matched": None,
            "published": (),
        }
    )
