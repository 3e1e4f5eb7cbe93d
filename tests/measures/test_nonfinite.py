"""Finite numbers become values; notes name the others."""

import math

import torch

from capsbench.measures._nonfinite import drop_nonfinite
from capsbench.values import Quantity


def rows(**numbers):
    return [(Quantity(metric=metric), number, 7) for metric, number in numbers.items()]


def test_nonfinite_numbers_are_named_and_left_out():
    values, notes = drop_nonfinite(
        rows(a=torch.tensor(0.5), b=math.nan, c=torch.tensor(math.inf), d=2.0)
    )
    assert [(value.metric, value.value, value.n) for value in values] == [
        ("a", 0.5, 7),
        ("d", 2.0, 7),
    ]
    assert notes == ("undefined (0/0): b", "infinite (divided by 0): c")
    assert all(type(value.value) is float for value in values)


def test_many_names_are_counted():
    _, (note,) = drop_nonfinite(rows(**{f"m{number}": math.nan for number in range(7)}))
    assert note == "undefined (0/0): m0, m1, m2 and 4 more"


def test_finite_numbers_need_no_note():
    values, notes = drop_nonfinite(rows(a=-1.0))
    assert [value.value for value in values] == [-1.0]
    assert notes == ()
