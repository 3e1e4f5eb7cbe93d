"""Sentences on the tuning of models."""

from capsbench.reporting.tuning import one_iteration
from capsbench.schema.claims import load_claims


def test_networks_whose_search_chose_one_iteration_are_named():
    claims = load_claims("claims", "cpu")
    note = one_iteration(claims, "cpu")
    for part in claims.parts:
        for entry in claims.benchmark(part, "cpu").models:
            once = entry.tuned and entry.arguments.get("iterations") == 1
            assert not once or entry.label in note
    assert "Matrix capsules (EM routing) on mnist" in note
    assert "crowding" not in note and "multimnist" not in note


def test_a_number_of_iterations_that_no_search_chose_is_not_named():
    assert one_iteration(load_claims("routings", "cpu"), "cpu") == ""  # fixed
    assert one_iteration(load_claims("claims"), None) == ""  # not tuned
