"""Trained weights: safetensors with a JSON beside them that says how to build the model again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from capsbench.contracts import Model
from capsbench.errors import UserError
from capsbench.names import find
from capsbench.records import SCHEMA, read_json, write_bytes, write_json
from capsbench.training.trajectory import Weights


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
        UserError: A file is missing or damaged.
    """
    try:
        description = read_json(path.with_suffix(".json"))
        weights = load(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"no checkpoint: {error.filename} is missing") from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); remove its folder and train again") from None
    model: Model = find("models", description["model"]).load()(
        image_shape=tuple(description["image_shape"]),
        num_classes=description["num_classes"],
        **description["arguments"],
    )
    model.load_state_dict(weights)
    return model
