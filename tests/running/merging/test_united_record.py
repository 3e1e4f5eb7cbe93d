"""One record of several: seeds, models, cells, search and command; and what prevents it."""

import shlex
from typing import Any

import pytest

from capsbench.records import (
    BenchmarkRecord,
    CellReference,
    ProtocolChanges,
    Provenance,
)
from capsbench.running.merging.protocols import protocol_differences
from capsbench.running.merging.united_record import united_record
from capsbench.schema import Benchmark, ModelEntry
from tests.records.search_records import search_record

PROTOCOL: dict[str, Any] = {
    "name": "tiny",
    "version": 1,
    "title": "Tiny",
    "question": "Does it run?",
    "source": "a test",
    "data": {"name": "digits"},
    "models": [{"name": "cnn-small", "label": "CNN"}, {"name": "capsnet-dr", "label": "Capsules"}],
    "recipe": {"steps": 4, "batch_size": 16, "evaluate_every": 2},
    "seeds": [0, 1, 2],
    "measures": [{"measure": "calibration"}],
}
ADDED = {"name": "linear-classifier", "label": "Linear"}


def reference(label, seed):
    path = f"digits/net/{'elsewhere' if seed is None else seed}-{label.lower()[:1] * 12}"
    return CellReference(label=label, model="net", seed=seed, path=path, measures={})


def record(*, seeds=(0, 1, 2), labels=("CNN", "Capsules"), date="2026-01-01", search=None, **more):
    """Return the record of a run with some seeds and models, as a command would leave it."""
    changes = {"settings": {} if seeds == (0, 1, 2) else {"seeds": list(seeds)}, "search": search}
    if set(labels) < {"CNN", "Capsules"}:
        changes["models"] = labels
    own = {"search": search.search} if search is not None else {}
    options = ["--seeds", ",".join(map(str, seeds))] if changes["settings"] else []
    options += ["--models", ",".join(labels)] if "models" in changes else []
    return BenchmarkRecord(
        benchmark=Benchmark.model_validate(PROTOCOL | own | {"seeds": seeds} | more),
        changes=ProtocolChanges(**{**changes, "search": search is not None}),
        command=shlex.join(["capsbench", "run", "tiny", *options, "--output", f"runs-{seeds[0]}"]),
        cells=tuple(reference(label, seed) for label in labels for seed in seeds),
        search=search,
        provenance=Provenance(versions={}, date=date),
    )


def united(*records):
    for other in records[1:]:
        assert list(protocol_differences(records[0], other)) == []
    return united_record(records, records)


def test_seeds_are_united_in_the_order_of_a_run():
    one, other = record(seeds=(3, 4), date="2026-01-02"), record(seeds=(0, 1))
    both = united(one, other)
    assert both.benchmark.seeds == (0, 1, 3, 4)
    assert both.changes.settings == {"seeds": [0, 1, 3, 4]}
    expected = [(label, seed) for label in ("CNN", "Capsules") for seed in (0, 1, 3, 4)]
    assert [(cell.label, cell.seed) for cell in both.cells] == expected
    assert both.command == "capsbench run tiny --seeds 0,1,3,4"
    assert both.provenance.date == "2026-01-02"


def test_all_seeds_of_the_file_are_no_change():
    both = united(record(seeds=(1,)), record())
    assert both.benchmark.seeds == (0, 1, 2)
    assert both.changes.settings == {}
    assert both.command == "capsbench run tiny"
    assert both.size == "full"


def test_models_are_united():
    cnn, capsules = record(labels=("CNN",)), record(labels=("Capsules",))
    assert united(capsules, cnn).changes.models == ("Capsules", "CNN")
    assert united(cnn, record()).changes.models is None
    both = united(cnn, capsules)
    assert [cell.label for cell in both.cells] == ["CNN"] * 3 + ["Capsules"] * 3
    assert both.command == "capsbench run tiny --models CNN --models Capsules"


def test_added_models_are_kept():
    one = record(models=[*PROTOCOL["models"], ADDED])
    entry = ModelEntry.model_validate(ADDED)
    one = one.model_copy(
        update={
            "changes": ProtocolChanges(added=(entry,)),
            "cells": (*one.cells, reference("Linear", 0)),
        }
    )
    both = united(record(), one)
    assert both.changes.added == (entry,)
    assert [model.label for model in both.benchmark.models] == ["CNN", "Capsules", "Linear"]
    assert both.cells[-1].label == "Linear"


def test_uniting_again_changes_nothing():
    records = record(seeds=(3,)), record(seeds=(0,), labels=("CNN",)), record(seeds=(1,))
    both = united(*records)
    assert united(both, *records) == both
    assert united(both, *reversed(records)) == both


def searched(label, best):
    """Return the record of a run that searched for one model; the trial `best` was best."""
    accuracies = {label: tuple(0.9 if number == best else 0.1 for number in range(2))}
    search = search_record(
        PROTOCOL | {"search": {"trials": 2}}, accuracies, knobs={"width": (8, 16)}
    )
    entries = map(ModelEntry.model_validate, PROTOCOL["models"])
    models = [search.applied_to(entry).model_dump() for entry in entries]
    return record(labels=(label,), models=models, search=search)


def test_each_model_has_the_values_of_its_search():
    one, other = searched("CNN", 0), searched("Capsules", 1)
    both = united(one, other)
    assert both.search is not None
    assert [trial.label for trial in both.search.trials] == ["CNN"] * 2 + ["Capsules"] * 2
    assert [model.label for model in both.search.models] == ["CNN", "Capsules"]
    for entry, number in zip(both.benchmark.models, (0, 1), strict=True):
        trial = both.search.trials_of(entry.label)[number]
        assert (entry.recipe, entry.arguments) == (trial.recipe, trial.arguments)
        assert entry.tuned == both.search.name
    again = united(both, other, one)
    assert again.search == both.search
    assert again.benchmark.models == both.benchmark.models


def test_searches_with_other_outcomes_are_no_one_record():
    texts = list(protocol_differences(searched("CNN", 0), searched("CNN", 1)))
    assert texts
    assert all(text.startswith("best ") and "'CNN'" in text for text in texts)
    assert any("learning_rate" in text for text in texts)


def test_models_that_were_trained_elsewhere_come_last():
    alone = record().model_copy(update={"cells": (reference("Mine", None),)})
    few = record(seeds=(0,))
    assert list(protocol_differences(few, alone)) == []
    both = united_record([few], [few, alone])
    assert both.benchmark.seeds == (0,)  # it trained none of the file's seeds
    assert [cell.label for cell in both.cells] == ["CNN", "Capsules", "Mine"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, ["version 1 and 2"]),
        ({"recipe": {**PROTOCOL["recipe"], "steps": 6}}, ["recipe.steps 4 and 6"]),
        ({"measures": [{"measure": "cost"}]}, ["measures.0.measure calibration and cost"]),
        ({"models": PROTOCOL["models"][:1]}, ["model 'Capsules'"]),
        ({"title": "Another title", "question": "Another one?"}, []),
    ],
    ids=["version", "recipe", "measures", "models", "texts"],
)
def test_another_protocol_is_named(change, words):
    texts = list(protocol_differences(record(), record(labels=("CNN",), **change)))
    assert [word for word in words if not any(word in text for text in texts)] == []
    assert bool(texts) == bool(words)


def test_the_folder_of_an_own_file_may_differ():
    entries = [[{"name": f"/home/{who}/net.py:Net", "label": "CNN"}] for who in ("me", "you")]
    one, other = (record(labels=("CNN",), models=models) for models in entries)
    assert list(protocol_differences(one, other)) == []
