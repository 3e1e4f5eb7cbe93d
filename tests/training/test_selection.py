"""Selection rules as pure functions of trajectories, checked against plain searches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsbench.training.selection import RULES, accuracy_column, at_step, last, matched, validation

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
    history = trajectory(rows)
    best = None
    for row in history:
        better = best is None or (
            row["validation_accuracy"] > best["validation_accuracy"]
            or (
                row["validation_accuracy"] == best["validation_accuracy"]
                and row["validation_loss"] < best["validation_loss"]
            )
        )
        best = row if better else best
    assert best is not None
    assert validation(history) == best["step"]


@given(ROWS)
def test_a_choice_does_not_change_when_later_rows_are_removed(rows):
    """So the weights can be saved during the training."""
    history = trajectory(rows)
    for rule in RULES.values():
        chosen = rule(history)
        upto = [row for row in history if row["step"] <= chosen]
        assert rule(upto) == chosen


@given(ROWS, st.floats(0, 1))
def test_matched_is_the_first_that_reaches_the_target(rows, target):
    history = trajectory(rows)
    step = matched(history, "familiar", target)
    reached = [row["step"] for row in history if row["familiar_accuracy"] >= target]
    assert step == (reached[0] if reached else None)
    if step is not None:
        assert at_step(history, step)["familiar_accuracy"] >= target


def test_rules_that_select_weights_ignore_test_images():
    rows = trajectory([(0.1, 0.5, 0.9), (0.9, 0.1, 0.1), (0.5, 0.5, 0.5)])
    others = [
        {**row, accuracy_column("familiar"): 1 - row[accuracy_column("familiar")]} for row in rows
    ]
    for rule in RULES.values():
        assert rule(rows) == rule(others)
        assert rule([{k: v for k, v in row.items() if k != "familiar_accuracy"} for row in rows])
    assert last(rows) == 30


def test_a_split_that_is_not_in_the_trajectory_is_a_key_error():
    with pytest.raises(KeyError, match="novel_accuracy"):
        matched(trajectory([(0.1, 0.1, 0.1)]), "novel", 0.5)
