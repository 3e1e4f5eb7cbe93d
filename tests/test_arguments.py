"""A constructor's signature as the schema of its arguments."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from capsbench.arguments import NonNegative, Positive, resolve, typed
from capsbench.errors import UserError


class ExampleNet:
    def __init__(
        self,
        *,
        image_shape,
        width: Annotated[int, Field(ge=1)] = 8,
        rate: float = 0.5,
        sizes: tuple[int, ...] = (3, 4),
        pool: Literal["max", "mean"] = "max",
        depths: tuple[Positive, ...] = (),
        weight: NonNegative = 0.0,
        anything=None,
    ) -> None:
        pass


def given(**arguments):
    return resolve(ExampleNet, arguments, what="model 'net'", supplied=("image_shape",))


def test_defaults_are_filled_in_and_types_are_plain():
    defaults = {"width": 8, "rate": 0.5, "sizes": [3, 4], "pool": "max"}
    defaults |= {"depths": [], "weight": 0.0, "anything": None}
    assert given() == defaults
    assert given(sizes=[5], rate=1) == defaults | {"rate": 1.0, "sizes": [5]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widht": 3}, "model 'net'.*'widht'; did you mean 'width'"),
        ({"image_shape": 3}, "unknown argument"),
        ({"width": 0}, r"model 'net': width: .* 1 \(got 0\)"),
        ({"width": 2.5}, "width: expected a whole number, got 2.5"),
        ({"depths": [2, 0]}, r"depths.1: .* 1 \(got 0\)"),
        ({"weight": -1.0}, "weight: .* 0"),
        ({"weight": float("inf")}, "weight: .*finite number"),
        ({"rate": float("nan")}, "rate: .*finite number"),
        ({"anything": [float("inf")]}, "anything: .*finite numbers"),
        ({"rate": "much"}, "rate: expected a number, got the text 'much'"),
        ({"sizes": [1, "b"]}, "sizes.1: "),
        ({"pool": "sum"}, "pool: .*'max' or 'mean'"),
    ],
)
def test_wrong_arguments_are_user_errors(arguments, message):
    with pytest.raises(UserError, match=message):
        given(**arguments)


def test_a_value_that_json_cannot_hold_is_refused():
    with pytest.raises(UserError, match=r"not a plain value .*type"):
        given(anything=object())


def test_lists_of_a_file_become_the_tuples_of_the_annotations():
    converted = typed(ExampleNet, {"image_shape": [1, 2], "sizes": [5, 6]}, what="model 'net'")
    assert converted["image_shape"] == [1, 2]  # it has no annotation
    assert converted["sizes"] == (5, 6)
    with pytest.raises(UserError, match=r"model 'net': image_shape: .*required"):
        typed(ExampleNet, {}, what="model 'net'")


def test_an_inherited_constructor_of_a_class_with_its_own_new():
    class Made(ExampleNet):
        def __new__(cls, *args, **kwargs):
            return super().__new__(cls)

    assert resolve(Made, {}, what="model", supplied=("image_shape",)) == given()


@pytest.mark.parametrize("annotation", ["Undefined", "json.Nothing", "int[3]", "int or"])
def test_an_annotation_that_is_not_a_type_is_an_error(annotation):
    class Odd:
        def __init__(self, *, width: int = 8) -> None:
            pass

    Odd.__init__.__annotations__["width"] = annotation
    with pytest.raises(UserError, match="Odd is not a type"):
        resolve(Odd, {}, what="model 'odd'")


def test_a_constructor_without_arguments_takes_none():
    class Bare:
        def __init__(self) -> None:
            pass

    with pytest.raises(UserError, match=r"model 'bare'.*'width'; there are none"):
        resolve(Bare, {"width": 3}, what="model 'bare'")
