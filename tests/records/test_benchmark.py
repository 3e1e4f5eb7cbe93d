"""The record of a benchmark: its changes to the shipped protocol, as texts and as a size."""

import pytest

from capsbench.records import BenchmarkRecord, ProtocolChanges, Provenance
from capsbench.schema import ModelEntry, load_benchmark

SCALE = {"recipe.steps": 300, "recipe.evaluate_every": 50}
MEASURES = [{"measure": "cost"}]
ADDED = ModelEntry(name="net.py:Net", label="Mine")


def record(**changes):
    long = {"recipe.steps": 300, "models": [{"name": "cnn-small"}], "measures": MEASURES}
    scales = {"small": SCALE, "long": long}
    benchmark = load_benchmark("quick").model_copy(update={"scales": scales})
    return BenchmarkRecord(
        benchmark=benchmark,
        changes=ProtocolChanges(**changes),
        command="a test",
        cells=(),
        provenance=Provenance.now(),
    )


@pytest.mark.parametrize(
    ("changes", "texts", "size"),
    [
        ({}, (), "full"),
        ({"settings": {"seeds": [5]}, "models": ("CNN",)}, ("seeds=[5]", "only=CNN"), "full"),
        (
            {"scale": "small", "settings": {"recipe.optimizer": "sgd"}},
            ("scale=small", "recipe.steps=300", "recipe.evaluate_every=50", "recipe.optimizer=sgd"),
            "small",
        ),
        ({"models": ("CNN",), "added": (ADDED,)}, ("only=CNN", "added=Mine"), "full"),
        ({"search": True}, ("search",), "changed"),
        (
            {"settings": {"measures": MEASURES}},
            ('measures=[{"measure": "cost"}]',),
            "changed",
        ),
        # Of scales and claims, whose lists are long, the page names the numbers alone.
        ({"scale": "long"}, ("scale=long", "recipe.steps=300"), "long"),
        (
            {"claims": "claims-small", "settings": SCALE | {"measures": MEASURES}},
            ("part of claims-small", "recipe.steps=300", "recipe.evaluate_every=50"),
            "changed",
        ),
    ],
    ids=["none", "subset", "scale", "added", "search", "measures", "lists", "claims"],
)
def test_changes_are_texts_and_a_size(changes, texts, size):
    assert record(**changes).change_texts == texts
    assert record(**changes).size == size


@pytest.mark.parametrize(
    ("settings", "other"),
    [
        ({"data.name": "mnist"}, True),
        ({"data": {"name": "mnist"}}, True),
        ({"data.arguments.root": "a"}, True),
        ({"data.per_class": 5}, False),
    ],
    ids=["name", "data", "arguments", "per_class"],
)
def test_another_data_set_is_recognized(settings, other):
    assert record(settings=settings).other_data is other
