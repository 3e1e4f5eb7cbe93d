"""Selection rules as pure functions of trajectories, against plain searches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsbench.training.selection import RULES, at_step, followed, last, matched, validation

LEVELS = st.sampled_from([0.1, 0.5, 0.9])
ROWS = st.lists(st.tuples(LEVELS, LEVELS, LEVELS), min_size=1, max_size=12)


def trajectory(rows):
    return [
        {
            "step": 10.0 * (number + 1),
            "validation_accuracy": accuracy,
            "validation_loss": loss,
            "familiar_accuracy": familiar,
        }
        for number, (accuracy, loss, familiar) in enumerate(rows)
    ]


@given(ROWS)
def test_validation_is_the_best_then_the_lowest_loss_then_the_first(rows):
    found = trajectory(rows)
    best = None
    for row in found:
        better = best is None or (
            row["validation_accuracy"] > best["validation_accuracy"]
            or (
                row["validation_accuracy"] == best["validation_accuracy"]
                and row["validation_loss"] < best["validation_loss"]
            )
        )
        best = row if better else best
    assert best is not None
    assert validation(found) == best["step"]


@given(ROWS)
def test_what_comes_later_can_replace_a_choice_but_not_change_the_past(rows):
    """So that the weights can be kept while the training goes on."""
    found = trajectory(rows)
    for rule in RULES.values():
        chosen = rule(found)
        upto = [row for row in found if row["step"] <= chosen]
        assert rule(upto) == chosen


@given(ROWS, st.floats(0, 1))
def test_matched_is_the_first_that_reaches_the_target(rows, target):
    found = trajectory(rows)
    step = matched(found, "familiar", target)
    reached = [row["step"] for row in found if row["familiar_accuracy"] >= target]
    assert step == (reached[0] if reached else None)
    if step is not None:
        assert at_step(found, step)["familiar_accuracy"] >= target


def test_no_rule_that_chooses_weights_looks_at_test_images():
    rows = trajectory([(0.1, 0.5, 0.9), (0.9, 0.1, 0.1), (0.5, 0.5, 0.5)])
    others = [{**row, followed("familiar"): 1 - row[followed("familiar")]} for row in rows]
    for rule in RULES.values():
        assert rule(rows) == rule(others)
        assert rule([{k: v for k, v in row.items() if k != "familiar_accuracy"} for row in rows])
    assert last(rows) == 30


def test_a_split_that_was_not_followed_is_our_own_mistake():
    with pytest.raises(KeyError, match="novel_accuracy"):
        matched(trajectory([(0.1, 0.1, 0.1)]), "novel", 0.5)
