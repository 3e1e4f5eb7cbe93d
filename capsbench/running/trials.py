"""Trials of a search: the cells of every model, planned before any is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from capsbench.errors import UserError
from capsbench.names import find, without_folder
from capsbench.records.search import SearchedModel, with_values
from capsbench.running.cell import Cell
from capsbench.running.plan import plan, select_models
from capsbench.schema import Benchmark, ModelEntry, searched_variant
from capsbench.schema.search import TUNING_SEED, TrialValues
from capsbench.search_space import checked_knobs
from capsbench.wrapping import model_class


@dataclass(frozen=True)
class ModelTrials:
    """Trials of one model.

    Attributes:
        model: The model, with its searched knobs.
        values: Values of each trial, in the order of the design.
        cells: Training of each trial.
    """

    model: SearchedModel
    values: list[TrialValues]
    cells: list[Cell]


def plan_trials(
    benchmark: Benchmark, models: Sequence[str] | None, data_root: Path | None, device: str
) -> list[ModelTrials]:
    """List the trials of each requested model, also of those with values of an earlier search.

    The trials of a model depend neither on the other models nor on those values.

    Args:
        benchmark: The protocol.
        models: Labels or names of the requested models; all if None.
        data_root: Folder of local data files.
        device: Kind of device, resolved.

    Raises:
        UserError: The benchmark varies something and names no value for the search, reports the
            seed of the trials, or a knob does not fit the model.
    """
    if max(benchmark.seeds) >= TUNING_SEED:
        raise UserError(
            f"--search trains with seed {TUNING_SEED}, and seeds from there on are not reported: "
            f"expected smaller seeds, got {max(benchmark.seeds)}; name others by --seeds"
        )
    protocol = searched_variant(benchmark)
    return [
        _trials_of(protocol, entry, data_root, device)
        for entry in select_models(protocol.models, models)
    ]


def _trials_of(
    protocol: Benchmark, entry: ModelEntry, data_root: Path | None, device: str
) -> ModelTrials:
    cls = model_class(find("models", entry.name))
    knobs = protocol.search.free(
        checked_knobs(cls, cls.knobs, what=f"model '{without_folder(entry.name)}'")
    )
    values = protocol.search.draw(protocol.name, knobs)
    cells = [
        cell
        for each in values
        for cell in plan(_protocol_of(protocol, entry, each), data_root=data_root, device=device)
    ]
    model = SearchedModel(
        label=entry.label, name=without_folder(entry.name), revision=cls.revision, knobs=knobs
    )
    return ModelTrials(model, values, cells)


def _protocol_of(protocol: Benchmark, entry: ModelEntry, values: TrialValues) -> Benchmark:
    """Return the protocol of one trial: one model and one seed, and no test images."""
    return protocol.model_copy(
        update={
            "models": (with_values(entry, values, ""),),
            "seeds": (TUNING_SEED,),
            "measures": (),
            "follow": (),
            "matched": None,
            "published": (),
        }
    )
