"""Trained models of a cell: folders of weights, arguments and a card, each written atomically."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from capsbench.contracts import Model
from capsbench.errors import UserError
from capsbench.files.atomic import is_present, write_folder
from capsbench.files.content import stream_sha256
from capsbench.names import find, license_of
from capsbench.pretrained import CONFIG, WEIGHTS
from capsbench.records import CellFolder
from capsbench.records.cell_files import load_training, require_sha256
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


def has_checkpoint(folder: Path) -> bool:
    """Check that a folder holds the files of a checkpoint; damage shows when it is loaded."""
    return all(is_present(folder / name) for name in (WEIGHTS, CONFIG))


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of the numbers of a checkpoint, without the facts in the same file.

    They follow a header, whose length the first eight bytes of a file of safetensors state.
    """
    with (folder / WEIGHTS).open("rb") as stream:
        stream.seek(int.from_bytes(stream.read(8), "little"), os.SEEK_CUR)
        return stream_sha256(stream)


def load_checkpoint(folder: Path, name: str) -> Model:
    """Build the model of a checkpoint and load its weights, without unpickling.

    Args:
        folder: The checkpoint.
        name: Name or path of the model.

    Raises:
        UserError: A file is missing or damaged, or does not fit the model or the training.
    """
    try:
        model = model_class(find("models", name)).from_pretrained(folder)
    except UserError as error:
        raise UserError(f"{error}; {remedy(cell_of(folder))}") from None
    require_recorded(folder)
    return model


def require_recorded(folder: Path) -> None:
    """Check that the files of a checkpoint are those that the training of its cell recorded.

    Raises:
        UserError: One is another, or the record is damaged.
    """
    cell = CellFolder(cell_of(folder))
    if cell.training.is_file():
        files = load_training(cell).files
        for path in (folder / WEIGHTS, folder / CONFIG):
            recorded = files.get(f"checkpoints/{path.parent.name}/{path.name}")
            require_sha256(path, recorded, remedy(cell.path))


def cell_of(checkpoint: Path) -> Path:
    """Return the folder of the cell that a checkpoint belongs to."""
    return checkpoint.absolute().parent.parent


def remedy(cell: Path) -> str:
    """Return what to do about a checkpoint: a cell is trained again as a whole."""
    return f"remove {cell} and run the benchmark again"
