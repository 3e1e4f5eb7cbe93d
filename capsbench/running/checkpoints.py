"""Trained models of a cell: folders of weights, arguments and a card, each written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from capsbench.contracts import Model
from capsbench.errors import UserError
from capsbench.files.atomic import write_folder
from capsbench.names import find, license_of
from capsbench.wrapping import model_class


def save_checkpoint(folder: Path, model: Model, name: str, facts: dict[str, Any]) -> None:
    """Save a model with a card that states its origin.

    Args:
        folder: Target, such as ``checkpoints/validation``; an existing one is replaced.
        model: The model with its trained weights.
        name: Name or path of the model.
        facts: Facts about the training for the card, as plain JSON.
    """
    model.origin = {"license": license_of("models", name), **facts}
    with write_folder(folder) as unfinished:
        model.save_pretrained(unfinished)


def load_checkpoint(folder: Path, name: str) -> Model:
    """Build the model of a checkpoint and load its weights, without unpickling.

    Args:
        folder: The checkpoint.
        name: Name or path of the model.

    Raises:
        UserError: A file is missing or damaged, or does not fit the model.
    """
    try:
        return model_class(find("models", name)).from_pretrained(folder)
    except UserError as error:  # a cell is trained again as a whole
        cell = folder.parent.parent
        raise UserError(f"{error}; remove {cell} and run the benchmark again") from None
