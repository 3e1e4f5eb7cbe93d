"""Arguments of models and data modules: the constructor's signature is the schema."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError, create_model

from capsbench.errors import UserError, unknown


def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The keyword parameters of a class's constructor, by name."""
    found = inspect.signature(cls).parameters.values()
    return {p.name: p for p in found if p.kind is not inspect.Parameter.VAR_KEYWORD}


def resolve(
    cls: type, given: Mapping[str, Any], *, what: str, supplied: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Check arguments against a constructor and fill in its defaults.

    Args:
        cls: The class whose constructor is asked.
        given: Arguments by name, as a YAML file or the command line gives them.
        what: What the class is, for the error message, such as ``"model 'cnn-small'"``.
        supplied: Parameters that the framework supplies itself, such as ``image_shape``.

    Returns:
        Every other parameter with its value, checked and converted to its annotation.

    Raises:
        UserError: An argument is unknown, missing, or of the wrong type.
    """
    allowed = {name: p for name, p in parameters(cls).items() if name not in supplied}
    for name in given:
        if name not in allowed:
            raise unknown(f"argument of {what}:", name, allowed)
    hints = get_type_hints(inspect.getattr_static(cls, "__init__"), include_extras=True)
    fields: dict[str, Any] = {
        name: (hints.get(name, Any), ... if p.default is p.empty else p.default)
        for name, p in allowed.items()
    }
    schema = create_model(
        "Arguments", __config__=ConfigDict(arbitrary_types_allowed=True), **fields
    )
    try:
        checked = schema(**given)
    except ValidationError as error:
        raise UserError(f"{what}: {one_line(error)}") from None
    plain: dict[str, Any] = TypeAdapter(schema).dump_python(checked, mode="json")
    return plain


def one_line(error: ValidationError) -> str:
    """The first problem of a pydantic error as ``place: message (got value)``."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    came = "" if first["type"] == "missing" else f" (got {first['input']!r})"
    return f"{place}: {message}{came}" if place else f"{message}{came}"
