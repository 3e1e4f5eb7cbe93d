"""Values: tidy rows, their names and their selection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from capsbench.values import Quantity, Value, select

WORD = st.sampled_from(["familiar", "novel", "rotation", "hidden"])
CONDITION = st.dictionaries(
    st.sampled_from(["epsilon", "method"]), st.sampled_from([0.1, 0.25, "fgsm", True]), max_size=2
)
QUANTITY = st.builds(
    Quantity,
    metric=st.sampled_from(["accuracy", "gap"]),
    split=st.none() | WORD,
    factor=st.none() | WORD,
    view=st.none() | st.sampled_from([-90.0, 0.0, 0.5]),
    layer=st.none() | WORD,
    condition=CONDITION,
    source=st.none() | WORD,
)


@given(QUANTITY, QUANTITY)
def test_names_identify_quantities(one, other):
    assert (one.name == other.name) == (one.fields == other.fields and one.metric == other.metric)


@given(QUANTITY)
def test_a_row_survives_json(quantity):
    row = quantity.with_value(0.25, 100)
    assert Value.model_validate_json(row.model_dump_json()) == row
    assert row.quantity == quantity


def test_negative_zero_has_the_name_of_zero():
    views = [Quantity(metric="accuracy", factor="rotation", view=view) for view in (-0.0, 0.0)]
    assert views[0].name == views[1].name


def test_selection_by_fields_and_conditions():
    rows = [
        Quantity(metric="accuracy", split=split, condition=condition).with_value(0.5, 10)
        for split in ("familiar", "novel")
        for condition in ({}, {"method": "fgsm", "epsilon": 0.1})
    ]
    assert select(rows, split="novel") == rows[2:]
    assert select(rows, split="novel", method=None) == [rows[2]]
    assert select(rows, epsilon=0.1, split="familiar") == [rows[1]]


def test_rows_of_a_table_have_one_column_for_each_condition():
    attack = Quantity(metric="accuracy", condition={"method": "fgsm", "epsilon": 0.1})
    values = [attack.with_value(0.5, 10), Quantity(metric="gap", layer="pose").with_value(1, 2)]
    own = ["condition_epsilon", "condition_method", "source", "value", "n"]
    assert Value.columns(values) == ["metric", "split", "factor", "view", "layer", *own]
    assert Value.columns([]) == ["metric", "split", "factor", "view", "layer", *own[2:]]
    row = values[0].row()
    assert set(row) == set(Value.columns(values))
    assert (row["condition_epsilon"], row["value"], row["layer"]) == (0.1, 0.5, None)
    assert set(values[1].row()) < set(Value.columns(values))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_values_are_refused(value):
    with pytest.raises(ValidationError, match="finite"):
        Quantity(metric="accuracy").with_value(value, 1)
