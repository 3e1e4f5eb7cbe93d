"""Base of the schemas of user input: texts, numbers and booleans are not converted."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema

SCALARS = ("int", "float", "bool", "str")
NO_SCHEMAS = ("default", "metadata", "serialization")  # values within a schema


def _make_strict(schema: Any) -> None:
    """Mark the scalars within a schema of pydantic-core as strict."""
    if isinstance(schema, list | tuple):
        for each in schema:
            _make_strict(each)
    elif isinstance(schema, dict):
        if schema.get("type") in SCALARS:
            schema.setdefault("strict", True)
        for name, each in schema.items():
            if name not in NO_SCHEMAS:
                _make_strict(each)


class StrictModel(BaseModel):
    """Base of schemas that take ``64``, but neither ``"64"``, ``64.0`` nor ``true``, for an int.

    A whole number is also a float. A list is also a tuple, and a text a path or a literal, as in
    YAML and JSON; pydantic's own ``strict=True`` refuses these.
    """

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the schema of the class with strict scalars at every level."""
        schema = handler(source)
        _make_strict(handler.resolve_ref_schema(schema))
        return schema
