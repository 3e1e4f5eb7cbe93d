"""Trained weights: safetensors with a JSON beside them that says how to build the model again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from capsbench.contracts import ImageShape, Model
from capsbench.errors import UserError
from capsbench.names import find
from capsbench.records import SCHEMA, write_bytes, write_json
from capsbench.training.trajectory import Weights


class Description(BaseModel):
    """What the JSON says of how to build the model; the rest of it is for people."""

    record_schema: Literal[1] = Field(alias="schema")
    model: str
    arguments: dict[str, Any]
    image_shape: ImageShape
    num_classes: int


def save_checkpoint(path: Path, weights: Weights, description: dict[str, Any]) -> None:
    """Write weights, and beside them a JSON file of the same name.

    Args:
        path: The ``.safetensors`` file.
        weights: A model's state dictionary.
        description: ``model``, ``arguments``, ``image_shape``, ``num_classes``, and more.
    """
    write_bytes(path, save({key: value.contiguous() for key, value in weights.items()}))
    write_json(path.with_suffix(".json"), {"schema": SCHEMA, **description})


def load_checkpoint(path: Path) -> Model:
    """Build the model that a checkpoint describes and load its weights; nothing is unpickled.

    Raises:
        UserError: A file is missing or damaged, or does not fit the model.
    """
    described = path.with_suffix(".json")
    try:
        description = Description.model_validate_json(described.read_bytes())
        weights = load(path.read_bytes())
    except OSError as error:
        raise _unusable(path, f"cannot read {error.filename} ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "not a record"
        raise _unusable(path, f"{described} is damaged ({place}: {first['msg']})") from None
    except SafetensorError as error:
        raise _unusable(path, f"{path} is damaged ({error})") from None
    model: Model = find("models", description.model).load()(
        image_shape=description.image_shape,
        num_classes=description.num_classes,
        **description.arguments,
    )
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        reason = f"{path} does not fit the model '{description.model}' as it is now"
        raise _unusable(path, reason) from None
    return model


def _unusable(path: Path, reason: str) -> UserError:
    """The error that names the cell's folder, since a cell is trained again as a whole."""
    return UserError(f"{reason}; remove {path.parent.parent} and run the benchmark again")
