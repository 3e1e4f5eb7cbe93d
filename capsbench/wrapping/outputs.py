"""Logits among the outputs of a module: a tensor, or an item of a tuple, a dict or a dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from capsbench.contracts import Prediction
from capsbench.errors import UserError, unknown

Key = int | str


def select_logits(output: Any, key: Key | None, module: str) -> Tensor:
    """Return the logits of an output, whatever the key if it is a tensor or a `Prediction`.

    Args:
        output: Output of the module: a tensor, a `Prediction`, a tuple, a list, a mapping or
            a dataclass.
        key: Index or name of the logits in an output of several items.
        module: Name of the module, for error messages.

    Raises:
        UserError: The output has several items and no key is given, there is no item of that key,
            or the item is no tensor.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Prediction):
        return output.scores
    items = _items(output)
    if items is None:
        raise UserError(
            f"expected logits from {module}, got a {type(output).__name__}; pass a "
            "capsbench.contracts.Model or a module that returns logits"
        )
    if key is None:
        known = ", ".join(f"{name!r}: {_describe(item)}" for name, item in items.items())
        raise UserError(
            f"{module} returns a {type(output).__name__} with {known or 'nothing'}; "
            "name the logits by the argument output_key (--set output_key=..., or arguments: "
            "{output_key: ...} in a file; LogitsModel(module, output_key=...) in memory)"
        )
    if key not in items:
        raise unknown(f"output_key of {module}:", str(key), map(str, items))
    logits = items[key]
    if not isinstance(logits, Tensor):
        raise UserError(
            f"expected logits under output_key {key!r} of {module}, got a {type(logits).__name__}"
        )
    return logits


def _items(output: Any) -> Mapping[Key, Any] | None:
    """Return the items of an output by key: of a named tuple by name and by index."""
    if isinstance(output, Mapping):
        return output
    if isinstance(output, tuple | list):
        names = getattr(output, "_fields", ())
        return dict(zip(names, output, strict=False)) | dict(enumerate(output))
    if is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    return None


def _describe(item: Any) -> str:
    return f"tensor {tuple(item.shape)}" if isinstance(item, Tensor) else type(item).__name__
