"""Values of trials: the same recipes for every model, functions of names alone."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.errors import UserError
from capsbench.schema import Benchmark, Search, searched_variant
from capsbench.schema.search import DIMENSIONS, NO_DECAY
from capsbench.search_space import Knob, Range

KNOBS: dict[str, Knob] = {
    "iterations": (1, 2, 3),
    "dropout": Range(low=0.0, high=0.5, scale="linear"),
}


def recipes(search, knobs):
    return [trial.recipe for trial in search.draw(knobs)]


@settings(deadline=None, max_examples=20)  # the first call imports scipy.stats
@given(st.integers(1, 70))
def test_every_model_has_the_same_recipes(trials):
    search = Search(trials=trials)
    drawn = search.draw(KNOBS)
    assert len(drawn) == trials
    assert [trial.recipe for trial in drawn] == recipes(search, {})
    assert drawn == search.draw(dict(reversed([*KNOBS.items()])))
    assert drawn == Search(trials=80).draw(KNOBS)[:trials]
    assert all(trial.arguments["iterations"] in (1, 2, 3) for trial in drawn)


def test_the_design_covers_the_ranges():
    drawn = Search(trials=8).draw(KNOBS)
    low, high = Search().learning_rate
    parts = [math.log(t.recipe["learning_rate"] / low) / math.log(high / low) for t in drawn]
    assert sorted(int(8 * part) for part in parts) == list(range(8))
    decays = [trial.recipe["weight_decay"] for trial in drawn]
    assert decays.count(0.0) == 8 * NO_DECAY
    assert all(1e-6 <= decay <= 1e-3 for decay in decays if decay)
    assert {trial.arguments["iterations"] for trial in drawn} == {1, 2, 3}


def test_knobs_and_weight_decay_are_spread_over_the_rates():
    """Of eight trials, each half of the rates has every choice of two knobs of three."""
    drawn = Search(trials=8).draw({"first": ("a", "b", "c"), "second": ("x", "y", "z")})
    ordered = sorted(drawn, key=lambda trial: trial.recipe["learning_rate"])
    for half in (ordered[:4], ordered[4:]):
        assert [trial.recipe["weight_decay"] for trial in half].count(0.0) == 1
        assert {trial.arguments["first"] for trial in half} == {"a", "b", "c"}
        assert {trial.arguments["second"] for trial in half} == {"x", "y", "z"}


def test_knobs_that_a_benchmark_compares_are_not_searched():
    assert set(Search(fixed=("iterations",)).free(KNOBS)) == {"dropout"}


def test_too_many_knobs_are_refused():
    knobs = {f"knob{number}": (1, 2) for number in range(DIMENSIONS - 1)}
    with pytest.raises(UserError, match=f"at most {DIMENSIONS - 2} knobs"):
        Search().draw(knobs)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"search": {"learning_rate": [1e-2, 1e-3]}}, "lowest and the highest"),
        ({"search": {"weight_decay": [0, 1e-3]}}, "above 0"),
        ({"search": {"trials": 0}}, "trials"),
        ({"search": {"at": 7}, "vary": "steps"}, "search.at: 7 is no value.*known: 8, 16"),
        ({"tuned": "tiny-full-1", "seeds": [0, 1000]}, "report smaller seeds, got 1000"),
    ],
)
def test_what_does_not_fit_is_refused(tiny_protocol, change, word):
    with pytest.raises(ValueError, match=word):
        Benchmark.model_validate(changed(tiny_protocol, **change))


def changed(protocol, *, vary=None, tuned="", **change):
    if vary:
        change["vary"] = {"name": "x", "place": "recipe.batch_size", "values": [8, 16]}
    models = [entry | {"tuned": tuned} for entry in protocol["models"]]
    return {**protocol, "models": models, **change}


def test_a_varied_benchmark_is_searched_at_one_value(tiny_protocol):
    content = changed(tiny_protocol, vary="steps")
    with pytest.raises(UserError, match=r"varies recipe\.batch_size.*search\.at"):
        searched_variant(Benchmark.model_validate(content))
    at = searched_variant(Benchmark.model_validate({**content, "search": {"at": 16}}))
    assert (at.vary, at.recipe.batch_size) == (None, 16)


def test_tuned_values_need_no_reason(tiny_protocol):
    tuned = {**tiny_protocol["models"][0], "recipe": {"learning_rate": 0.1}, "tuned": "a-search"}
    benchmark = Benchmark.model_validate({**tiny_protocol, "models": [tuned]})
    assert benchmark.recipe_of(benchmark.models[0]).learning_rate == 0.1
