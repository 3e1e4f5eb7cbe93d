"""Records of searches for tests, without any training."""

from capsbench.records import Provenance, SearchRecord, Trial
from capsbench.records.search import SearchedModel, SearchedProtocol, best
from capsbench.schema import Benchmark, searched_variant

DATE = "2026-11-29T12:00:00+00:00"


def search_record(content, accuracies, *, knobs=None, scale=None):
    """Return the record of a search with a given outcome.

    Args:
        content: The protocol.
        accuracies: Validation accuracy of each trial, by the label of the model; None for a trial
            that diverged.
        knobs: Knobs of all models.
        scale: Name of the scale.
    """
    benchmark = Benchmark.model_validate(content)
    trials = []
    for label, outcomes in accuracies.items():
        values = benchmark.search.draw(knobs or {})[: len(outcomes)]
        tried = [
            Trial(
                label=label,
                recipe=recipe,
                arguments=arguments,
                path=f"digits/net/1000-{label[0].lower()}{number:011x}",
                outcome="diverged" if accuracy is None else "trained",
                accuracy=accuracy,
                seconds=1,
            )
            for number, ((recipe, arguments), accuracy) in enumerate(
                zip(values, outcomes, strict=True)
            )
        ]
        winner = best(tried)
        trials += [trial.model_copy(update={"chosen": trial is winner}) for trial in tried]
    return SearchRecord(
        protocol=SearchedProtocol.of(searched_variant(benchmark), scale, {}),
        search=benchmark.search,
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
