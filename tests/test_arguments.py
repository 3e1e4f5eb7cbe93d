"""A constructor's signature as the schema of its arguments."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from capsbench.arguments import resolve
from capsbench.errors import UserError


class Net:
    def __init__(
        self,
        *,
        image_shape,
        width: Annotated[int, Field(ge=1)] = 8,
        rate: float = 0.5,
        sizes: tuple[int, ...] = (3, 4),
        pool: Literal["max", "mean"] = "max",
    ) -> None:
        pass


def given(**arguments):
    return resolve(Net, arguments, what="model 'net'", supplied=("image_shape",))


def test_defaults_are_filled_in_and_types_are_plain():
    assert given() == {"width": 8, "rate": 0.5, "sizes": [3, 4], "pool": "max"}
    assert given(sizes=[5], rate=1) == {"width": 8, "rate": 1.0, "sizes": [5], "pool": "max"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widht": 3}, "unknown argument of model 'net': 'widht'; did you mean 'width'"),
        ({"image_shape": 3}, "unknown argument"),
        ({"width": 0}, r"model 'net': width: .*greater than or equal to 1 \(got 0\)"),
        ({"width": 2.5}, "width: .*integer"),
        ({"rate": "much"}, r"rate: .*number.* \(got 'much'\)"),
        ({"sizes": [1, "b"]}, "sizes.1: "),
        ({"pool": "sum"}, "pool: .*'max' or 'mean'"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(arguments, message):
    with pytest.raises(UserError, match=message):
        given(**arguments)
