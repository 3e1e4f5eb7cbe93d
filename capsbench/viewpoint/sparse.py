"""Models of views whose serialized form holds only what they state (no torch)."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, SerializerFunctionWrapHandler, model_serializer

from capsbench.strict import StrictModel


class SparseModel(StrictModel):
    """Base of ranges and grids: fields at their default are absent from the serialized form.

    A default leaves images unchanged, so that a factor that is added later changes neither a record
    nor a fingerprint of views without it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        serialized: dict[str, Any] = handler(self)
        return {
            name: value
            for name, value in serialized.items()
            if getattr(self, name) != defaults[name]
        }
