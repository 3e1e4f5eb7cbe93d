"""Arguments of models and data modules: the constructor's signature is the schema."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from difflib import get_close_matches
from numbers import Integral
from typing import Annotated, Any, cast, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic._internal._model_construction import ModelMetaclass  # has no public name
from pydantic_core import PydanticSerializationError

from capsbench.errors import UserError, unknown
from capsbench.strict import StrictModel

# Annotations for the constructors of models and data modules; other values are a UserError.
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0)]

# Arguments that the framework supplies to constructors, and no benchmark file gives.
SUPPLIED_TO_MODELS = ("image_shape", "num_classes")
SUPPLIED_TO_DATA = (
    *("views", "batch_size", "seed", "per_class", "limit", "data_root"),
    "augmentation",
)

# Words for the types of pydantic's errors, and the places that it adds for types of a union.
EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "finite_number": "a finite number",
    "invalid_key": "a text as a name",
}
UNION_TAGS = ("str", "int", "float", "bool", "constrained-str", "constrained-float")


def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Return the keyword parameters of a class's constructor, by name.

    ``**kwargs`` is replaced by the parameters of the parent's constructor.
    """
    own = {
        name: parameter
        for name, parameter in _own_parameters(cls).items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    return parameters(_parent(cls)) | own if _passes_kwargs(cls) else own


def parameter_types(cls: type, *, include_extras: bool = False) -> dict[str, Any]:
    """Return the types of a constructor's parameters; without extras, ``Annotated`` is removed.

    Raises:
        UserError: An annotation is not a type.
    """
    constructor = inspect.getattr_static(cls, "__init__")
    try:
        own = get_type_hints(constructor, include_extras=include_extras)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise UserError(
            f"an annotation in the constructor of {cls.__qualname__} is not a type: {error}"
        ) from error
    if not _passes_kwargs(cls):
        return own
    return parameter_types(_parent(cls), include_extras=include_extras) | own


def _passes_kwargs(cls: type) -> bool:
    """Return True if a class's constructor passes ``**kwargs`` to its parent's."""
    kinds = {p.kind for p in _own_parameters(cls).values()}
    return inspect.Parameter.VAR_KEYWORD in kinds


def _own_parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of ``__init__`` after ``self``; ``__new__`` does not count."""
    _, *own = inspect.signature(inspect.getattr_static(cls, "__init__")).parameters.items()
    return dict(own)


def _parent(cls: type) -> type:
    """Return the class whose constructor is called by ``super().__init__``."""
    constructors = [parent for parent in cls.__mro__ if "__init__" in vars(parent)]
    return constructors[1]


def resolve(
    cls: type, given: Mapping[str, Any], *, what: str, supplied: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Check arguments against a constructor and fill in its defaults.

    Args:
        cls: The class of the constructor.
        given: Arguments by name, as a YAML file or the command line gives them.
        what: Description of the class for error messages, such as ``"model 'cnn-small'"``.
        supplied: Parameters that the framework supplies itself, such as ``image_shape``.

    Returns:
        Every other parameter with its value, checked and converted to its annotation.

    Raises:
        UserError: An argument is unknown, missing, of the wrong type, or not finite, or has a
            value that JSON cannot represent.
    """
    checked = _check(cls, given, what=what, supplied=supplied)
    try:
        plain: dict[str, Any] = TypeAdapter(type(checked)).dump_python(checked, mode="json")
    except PydanticSerializationError as error:
        raise UserError(f"{what}: an argument is not a plain value ({error})") from None
    for name, value in plain.items():
        _require_finite(value, f"{what}: {name}")
    return plain


def typed(cls: type, given: Mapping[str, Any], *, what: str) -> dict[str, Any]:
    """Return all arguments of a constructor, converted to their annotations (lists to tuples).

    Args:
        cls: The class of the constructor.
        given: Arguments by name, as a JSON file gives them.
        what: Description of the class for error messages.

    Raises:
        UserError: An argument is unknown, missing, or of the wrong type.
    """
    return dict(_check(cls, given, what=what, supplied=()))


def _check(
    cls: type, given: Mapping[str, Any], *, what: str, supplied: tuple[str, ...]
) -> BaseModel:
    """Return the arguments as the fields of a schema, checked and converted."""
    allowed = {name: p for name, p in parameters(cls).items() if name not in supplied}
    for name in given:
        if name not in allowed:
            raise unknown(f"argument of {what}:", name, allowed)
    hints = parameter_types(cls, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints.get(name, Any), ... if p.default is p.empty else p.default)
        for name, p in allowed.items()
    }
    schema = create_model("Arguments", __base__=_Arguments, **fields)
    try:
        return schema(**{name: _as_int(value) for name, value in given.items()})
    except ValidationError as error:
        raise UserError(f"{what}: {explain(error, schema)}") from None


def _as_int(value: Any) -> Any:
    """Return an integer of numpy as Python's, and everything else unchanged."""
    is_other = isinstance(value, Integral) and not isinstance(value, int)
    return int(value) if is_other else value


def _require_finite(value: Any, place: str) -> None:
    """Refuse a number that is not finite, which a fingerprint cannot represent."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise UserError(f"{place}: input should hold finite numbers (got {value!r})") from None


def one_line(error: ValidationError) -> str:
    """Return the first problem of a pydantic error as ``place: message (got value)``.

    A whole mapping is not repeated: the message of its check says what is wrong in it.
    """
    first, *others = error.errors(include_url=False)
    loc = tuple(part for part in first["loc"] if part != "[key]")
    kinds = [first["type"]]
    if loc and loc[-1] in UNION_TAGS:
        loc = loc[:-1]
        kinds += [each["type"] for each in others if each["loc"][:-1] == loc]
    place = ".".join(str(part) for part in loc)
    given = first["input"]
    if all(kind in EXPECTED for kind in kinds):
        expected = " or ".join(dict.fromkeys(EXPECTED[kind] for kind in kinds))
        message = f"expected {expected}, got {shown(given)}"
    elif first["type"] == "too_short":
        least = first["ctx"]["min_length"]
        message = f"expected at least {least}, got {first['ctx']['actual_length']}"
    else:
        message = first["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        if first["type"] != "missing" and not isinstance(given, Mapping):
            message += f" (got {given!r})"
    return f"{place}: {message}" if place else message


def shown(value: Any) -> str:
    """Return a value of user input for a message, with its kind where YAML hides it.

    >>> shown("64"), shown(True), shown(None), shown({"a": 1}), shown(64.0)
    ("the text '64'", 'true', 'nothing', 'a mapping', '64.0')
    """
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {value!r}"
        case Mapping():
            return "a mapping"
    return repr(value)


class _Arguments(StrictModel):
    """Base of the schemas of constructors."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True, allow_inf_nan=False, ser_json_inf_nan="constants"
    )


class OneSentence(ModelMetaclass):
    """Metaclass of public schemas: a call of the class refuses bad input by a `UserError`.

    Validation of a file, or of a schema that has this one as a field, does not call the class. It
    raises pydantic's ValidationError, which states the place.
    """

    def __call__(cls, *args: Any, **fields: Any) -> Any:  # noqa: N805 - its instances are classes
        """Return an instance with these fields."""
        try:
            return super().__call__(*args, **fields)
        except ValidationError as error:
            raise UserError(
                f"{cls.__name__}: {explain(error, cast('type[BaseModel]', cls))}"
            ) from None


def explain(error: ValidationError, schema: type[BaseModel]) -> str:
    """Return the first problem of a pydantic error, with a 'did you mean' for an unknown field.

    Args:
        error: The error.
        schema: The schema that was validated.
    """
    errors = error.errors(include_url=False)
    first = errors[0]
    if first["type"] == "missing":  # perhaps since its name is misspelt
        first = next((each for each in errors if each["type"] == "extra_forbidden"), first)
    if first["type"] != "extra_forbidden":
        return one_line(error)
    schemas: list[type[BaseModel]] = [schema]
    for part in first["loc"][:-1]:  # an index of a list is no field
        fields = [each.model_fields[part] for each in schemas if part in each.model_fields]
        schemas = [inner for field in fields for inner in _schemas_in(field.annotation)] or schemas
    known = [name for each in schemas for name in each.model_fields]
    close = get_close_matches(str(first["loc"][-1]), known, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"
    return f"unknown field '{'.'.join(map(str, first['loc']))}'{hint}"


def _schemas_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the schemas within an annotation such as ``tuple[ModelEntry, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [schema for inner in get_args(annotation) for schema in _schemas_in(inner)]
