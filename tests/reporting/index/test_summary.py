"""Summary of a benchmark or claims beside its page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from capsbench.records import ClaimsRecord, ProtocolChanges, Results, load_results
from capsbench.reporting.index.summary import Summary, benchmark_summary, claims_summary
from capsbench.schema import Benchmark
from capsbench.schema.claims import load_claims

MODELS = (("CNN", "cnn-small"), ("Dynamic routing", "capsnet-dr"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, write_benchmark) -> Results:
    folder = write_benchmark(tmp_path_factory.mktemp("runs"), models=MODELS, seeds=(0, 1))
    return load_results(folder)


def summary(results: Results) -> Summary:
    return benchmark_summary(results, [])


def test_it_has_the_facts_of_each_network(results: Results):
    facts = {(a.network, a.family, a.parameters, a.flops) for a in summary(results).accuracies}
    assert facts == {
        ("cnn-small", "convolutions", 50_000, 4_000_000),
        ("capsnet-dr", "capsules", 51_000, 2_000_000),
    }
    assert summary(results).accuracies[-1].name == "Novel"


@pytest.mark.parametrize(
    ("changes", "size", "words"),
    [
        ({}, "full", ""),
        ({"settings": {"seeds": [0]}}, "full", "other models or seeds"),
        ({"settings": {"recipe.limit": 100}}, "changed", "not the protocol as published"),
    ],
)
def test_it_says_how_the_protocol_was_changed(
    results: Results, changes: dict[str, Any], size: str, words: str
):
    record = results.record.model_copy(update={"changes": ProtocolChanges(**changes)})
    shown = summary(replace(results, record=record))
    assert (shown.size, shown.is_full) == (size, size == "full")
    assert words in shown.changed if words else shown.changed == ""
    for place in changes.get("settings", ()):
        assert place in shown.changed


def test_a_varied_setting_is_a_case_and_no_part_of_the_label(results: Results):
    vary = {"name": "images", "place": "data.per_class", "values": [10, 100]}
    content = results.record.benchmark.model_dump() | {"vary": vary}
    record = results.record.model_copy(update={"benchmark": Benchmark.model_validate(content)})
    cells = tuple(  # the seeds of a model are its values
        replace(cell, reference=cell.reference.model_copy(update={"at": at}))
        for cell in results.cells
        for at in [10.0 if cell.seed == 0 else 100.0]
    )
    varied = summary(Results(record, cells))
    assert [(a.label, a.name, a.case) for a in varied.accuracies] == [
        (label, name, f"images: {at}")
        for name in ("Familiar", "Novel")
        for at in (10, 100)
        for label in ("CNN", "Dynamic routing")
    ]


def test_claims_have_their_scale_and_no_accuracies(results: Results):
    def claims(scale: str | None) -> Summary:
        record = ClaimsRecord(
            claims=load_claims("claims"),
            scale=scale,
            parts={},
            command="capsbench run claims",
            provenance=results.record.provenance,
        )
        return claims_summary(record, [])

    assert (claims("cpu").size, claims(None).size) == ("cpu", "full")
    assert "'cpu'" in claims("cpu").changed
    assert claims(None).changed == ""
    assert claims("cpu").accuracies == ()
