"""Checks of records of searches, and of the values that benchmark files take from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from capsbench.errors import UserError
from capsbench.records import CellResult
from capsbench.records.folders import SEARCHES
from capsbench.records.search import SearchedModel, SearchedProtocol, SearchRecord, best, finalists
from capsbench.reporting.formatting import listed
from capsbench.schema import Benchmark, ModelEntry, searched_variant
from capsbench.schema.search import DESIGN, DRAWN, TUNING_SEEDS
from capsbench.viewpoint.ranges import ViewRange

# Values of the recipe in which benchmarks that share a search can differ.
NOT_SHARED = ("steps", "evaluate_every", "limit", "augmentation")


@dataclass(frozen=True)
class ExportedSearch:
    """A record of a search in a file.

    Attributes:
        path: The file.
        record: The record.
    """

    path: Path
    record: SearchRecord
    cells: tuple[CellResult, ...] = ()  # trials are not measured
    failed: tuple[CellResult, ...] = ()

    @property
    def name(self) -> str:
        """Name of the folder that the file belongs to."""
        return SEARCHES

    @property
    def version(self) -> int:
        """Version of the protocol."""
        return self.record.protocol.version

    @property
    def size(self) -> str:
        """One word: ``full``, the name of a scale, or ``changed``."""
        return self.record.size


def load_search(path: Path) -> ExportedSearch:
    """Load the record of a search from its file, and check it.

    Raises:
        UserError: It does not fit the schema, its file has another name, or see `check_search`.
    """
    return exported_search(path, SearchRecord.load(path))


def exported_search(path: Path, record: SearchRecord) -> ExportedSearch:
    """Return the record of a file, checked, see `load_search`."""
    check_search(path, record)
    if path.stem != record.name:
        raise UserError(f"{path}: a search of these trials is named {record.name}.json; rename it")
    return ExportedSearch(path, record)


def check_search(path: Path, record: SearchRecord) -> None:
    """Check that every model has all trials of the design, and that the best ones were chosen.

    Raises:
        UserError: It is not so.
    """
    labels = [model.label for model in record.models]
    others = {trial.label for trial in record.trials} - set(labels)
    is_named = (record.design, record.seeds) == (DESIGN, TUNING_SEEDS)
    if not labels or len(set(labels)) < len(labels) or others or not is_named:
        raise UserError(
            f"{path}: expected the trials of each model once, by a {DESIGN} with seeds "
            f"{_listed(TUNING_SEEDS)}; search again"
        )
    for model in record.models:
        trials = record.trials_of(model.label)
        drawn = record.search.draw(model.knobs)
        chosen = [trial for trial in trials if trial.chosen]
        if [trial.values for trial in trials] != drawn or chosen != [best(trials, record.search)]:
            raise UserError(
                f"{path}: {model.label} does not have the {len(drawn)} trials of the design, the "
                "best of them chosen; search again"
            )
        repeated = finalists(trials, record.search) if record.search.finalists > 1 else []
        for trial in trials:
            seeds = record.seeds if trial in repeated else record.seeds[:1]
            named = [run.path.rpartition("/")[2].partition("-")[0] for run in trial.runs]
            if tuple(run.seed for run in trial.runs) != seeds or named != [*map(str, seeds)]:
                raise UserError(
                    f"{path}: expected runs of a trial of {model.label} with seeds "
                    f"{_listed(seeds)}; search again"
                )


def _listed(seeds: Sequence[int]) -> str:
    return listed([*map(str, seeds)])


def check_tuned(
    benchmark: Benchmark, scale: str | None, searches: Mapping[str, SearchRecord]
) -> None:
    """Check that the tuned values of a shipped protocol are the best ones of their searches.

    Args:
        benchmark: The protocol at the scale.
        scale: Name of the scale; None at full size.
        searches: Records of searches by their names.

    Raises:
        UserError: A record is missing, is of another protocol, or has another best trial.
    """
    for entry in benchmark.models:
        if not entry.tuned:
            continue
        where = f"{benchmark.name}{f' at scale {scale}' if scale else ''}: {entry.label}"
        record = searches.get(entry.tuned)
        if record is None:
            raise UserError(
                f"{where} was tuned by '{entry.tuned}', which is no record under results/searches"
            )
        if record.applied_to(entry) != entry or record.chosen(entry.label) is None:
            raise UserError(
                f"{where} does not have the values of the best trial of {entry.tuned}; paste those "
                "that the search printed"
            )
        check_searched(where, record, benchmark, scale, entry)


def check_searched(
    where: str, record: SearchRecord, benchmark: Benchmark, scale: str | None, entry: ModelEntry
) -> None:
    """Check that the trials of a model have the network, the protocol and the budget of a file.

    A search of another shipped benchmark may differ in views, augmentation, and numbers of images
    and steps: benchmarks on one data set can share a search.

    Args:
        where: The file and the model, for error messages.
        record: The search.
        benchmark: The protocol at the scale.
        scale: Name of the scale; None at full size.
        entry: The model, which the search contains.

    Raises:
        UserError: They have not.
    """
    protocol = SearchedProtocol.of(searched_variant(benchmark), scale, {})
    is_own = record.protocol.benchmark == benchmark.name
    conditions = _conditions if is_own else _shared_conditions
    if conditions(protocol) != conditions(record.protocol):
        raise UserError(f"{where} was tuned under another protocol; repeat the search")
    at = benchmark.search.at if is_own else record.search.at
    if record.search != benchmark.search.model_copy(update={"at": at}):
        raise UserError(
            f"{where} was tuned by {record.search.trials} trials of another design than that of "
            f"the file, which has {benchmark.search.trials}; repeat the search"
        )
    model = next(each for each in record.models if each.label == entry.label)
    if model != SearchedModel.of(entry, model.knobs, model.revision):
        raise UserError(
            f"{where} was tuned as another network, or with another recipe; repeat the search"
        )


def _conditions(protocol: SearchedProtocol) -> SearchedProtocol:
    """Return the part of a protocol that a search must have in common with it."""
    recipe = protocol.recipe.model_copy(update=dict.fromkeys(DRAWN))
    return protocol.model_copy(update={"version": 0, "settings": {}, "recipe": recipe})


def _shared_conditions(protocol: SearchedProtocol) -> SearchedProtocol:
    """Return the part of a protocol that another benchmark's search must have in common with it."""
    same = _conditions(protocol)
    recipe = same.recipe.model_copy(update=dict.fromkeys(NOT_SHARED))
    settings = {place: value for place, value in protocol.settings.items() if place != "seeds"}
    return same.model_copy(
        update={"benchmark": "", "settings": settings, "views": ViewRange(), "recipe": recipe}
    )
