"""Ranges and choices of a search: bounds, scales, and knobs that fit a constructor."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsbench.contracts import Model
from capsbench.errors import UserError
from capsbench.names import find, table
from capsbench.running.plan import plan
from capsbench.schema import Benchmark
from capsbench.search_space import Range, checked_knobs, value_at
from capsbench.wrapping import model_class

SHARES = st.floats(0, 1, exclude_max=True)
NUMBERS = st.floats(1e-9, 1e9)


@given(NUMBERS, NUMBERS, SHARES, SHARES, st.sampled_from(["log", "linear"]))
def test_a_range_is_kept_and_its_order_too(one, other, share, larger, scale):
    low, high = sorted((one, other))
    if low == high:
        return
    interval = Range(low=low, high=high, scale=scale)
    first, second = (interval.at(each) for each in sorted((share, larger)))
    assert low <= first <= second <= high
    assert interval.at(0) == pytest.approx(low, rel=0.006)  # three digits


@given(SHARES)
def test_a_logarithmic_range_is_even_in_the_exponent(share):
    value = Range(low=1e-4, high=1e-1).at(share)
    assert math.log10(value) == pytest.approx(-4 + 3 * share, abs=0.003)
    assert float(f"{value:.3g}") == value


@given(st.integers(1, 7), SHARES)
def test_each_choice_has_an_equal_part(count, share):
    choices = tuple((0.1, float(number)) for number in range(count))
    number = value_at(choices, share)[1]
    assert number <= share * count < number + 1


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ({"low": 2.0, "high": 1.0}, "low below high"),
        ({"low": 0.0, "high": 1.0}, "above 0"),
        ({"low": "1", "high": 2.0}, "number"),
        ({"low": 1.0, "height": 2.0}, "height"),
    ],
)
def test_an_impossible_range_is_refused(interval, word):
    with pytest.raises(UserError, match=word):
        Range(**interval)


class Net(Model):
    """A model of which only the constructor matters."""

    def __init__(self, *, image_shape, num_classes, width: int = 3):
        super().__init__(image_shape=image_shape, num_classes=num_classes)


@pytest.mark.parametrize(
    ("knobs", "word"),
    [
        ({"widht": (1, 2)}, "did you mean 'width'"),
        ({"width": ()}, "choices"),
        ({"width": [1, 2]}, "choices"),
        ({"width": 3}, "choices"),
        (("width",), "by name"),
    ],
)
def test_knobs_that_do_not_fit_are_refused(knobs, word):
    with pytest.raises(UserError, match=f"knob.*{word}"):
        checked_knobs(Net, knobs, what="model 'net'")


@pytest.mark.parametrize("name", sorted(table("models")))
def test_every_choice_of_a_knob_is_an_argument_of_its_model(name):
    cls = model_class(find("models", name))
    for knob, values in checked_knobs(cls, cls.knobs, what=name).items():
        ends = (values.low, values.high) if isinstance(values, Range) else values
        for value in ends:
            entry = {"name": name, "arguments": {knob: value}}
            content = {
                "name": "tried",
                "version": 1,
                "title": "Tried",
                "question": "Does it fit?",
                "source": "a test",
                "data": {"name": "digits"},
                "models": [entry],
                "recipe": {"steps": 1},
                "seeds": [0],
                "measures": [{"measure": "calibration"}],
            }
            assert plan(Benchmark.model_validate(content))
