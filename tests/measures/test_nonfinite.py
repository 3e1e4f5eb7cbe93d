"""Values that are numbers, and sentences for those that are not."""

import math

import torch

from capsbench.measures._nonfinite import defined


def test_what_is_not_finite_is_named_and_left_out():
    values: dict[str, torch.Tensor | float] = {
        "a": torch.tensor(0.5),
        "b": math.nan,
        "c": torch.tensor(math.inf),
        "d": 2.0,
    }
    finite, notes = defined(values)
    assert finite == {"a": 0.5, "d": 2.0}
    assert notes == ("undefined (0/0): b", "infinite (divided by 0): c")
    assert all(type(value) is float for value in finite.values())


def test_many_are_counted():
    _, (note,) = defined({str(key): math.nan for key in range(7)})
    assert note == "undefined (0/0): 0, 1, 2 and 4 more"


def test_all_that_is_finite_needs_no_sentence():
    assert defined({"a": -1.0}) == ({"a": -1.0}, ())
