"""Types of the parameters of other libraries, as far as a benchmark file can hold their values."""

from __future__ import annotations

import collections.abc
import types
from inspect import Parameter
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

PLAIN = (bool, int, float, str, type(None), list, tuple, dict, Ellipsis)
GENERIC = (
    *(list, tuple, dict, Union, types.UnionType),
    *(collections.abc.Sequence, collections.abc.Mapping),
)


def plain_type(annotation: Any, default: Any) -> Any:
    """Return an annotation if plain values can satisfy it and the default does, else ``Any``.

    >>> plain_type(int, 3), plain_type(float, None), plain_type(type, Parameter.empty)
    (<class 'int'>, typing.Any, typing.Any)
    """
    if not _is_plain(annotation):
        return Any
    if default is not Parameter.empty:
        try:
            TypeAdapter(annotation).validate_python(default)
        except ValidationError:
            return Any
    return annotation


def _is_plain(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _is_plain(get_args(annotation)[0])
    if origin is Literal:
        return True
    if origin in GENERIC:
        return all(map(_is_plain, get_args(annotation)))
    return annotation in PLAIN
