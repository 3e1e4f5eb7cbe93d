"""Records of searches for tests, without any training."""

from capsbench.records import Provenance, SearchRecord, Trial
from capsbench.records.search import (
    SearchedModel,
    SearchedProtocol,
    TrialRun,
    best,
    finalists,
)
from capsbench.schema import Benchmark, searched_variant
from capsbench.schema.search import TUNING_SEEDS

DATE = "2026-11-29T12:00:00+00:00"


def search_record(content, accuracies, *, knobs=None, scale=None):
    """Return the record of a search with a given outcome.

    Args:
        content: The protocol.
        accuracies: Validation accuracies of the runs of each trial, by the label of the model: one
            number if all runs are equal; None for one that diverged.
        knobs: Knobs of all models.
        scale: Name of the scale.
    """
    benchmark = Benchmark.model_validate(content)
    search = benchmark.search
    trials = []
    for label, outcomes in accuracies.items():
        every = [each if isinstance(each, tuple) else (each,) * 3 for each in outcomes]
        drawn = search.draw(knobs or {})[: len(outcomes)]
        whole = [_trial(label, *each) for each in enumerate(zip(drawn, every, strict=True))]
        again = finalists(whole, search) if search.finalists > 1 else []
        tried = [
            trial if trial in again else trial.model_copy(update={"runs": trial.runs[:1]})
            for trial in whole
        ]
        winner = best(tried, search)
        trials += [trial.model_copy(update={"chosen": trial is winner}) for trial in tried]
    return SearchRecord(
        protocol=SearchedProtocol.of(searched_variant(benchmark), scale, {}),
        search=search,
        models=tuple(
            SearchedModel.of(entry, knobs or {}, 1)
            for entry in benchmark.models
            if entry.label in accuracies
        ),
        trials=tuple(trials),
        devices=("a processor",),
        command=f"capsbench run {benchmark.name} --search",
        provenance=Provenance(versions={}, date=DATE),
    )


def _trial(label, number, outcome):
    (recipe, arguments), accuracies = outcome
    return Trial(
        label=label,
        recipe=recipe,
        arguments=arguments,
        runs=tuple(
            TrialRun(
                seed=seed,
                path=f"digits/net/{seed}-{label[0].lower()}{number:011x}",
                outcome="diverged" if accuracy is None else "trained",
                accuracy=accuracy,
                seconds=1,
            )
            for seed, accuracy in zip(TUNING_SEEDS, accuracies, strict=True)
        ),
    )
