"""File of a resumable state, written beside its place and put there by one rename."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from capsbench.errors import UserError
from capsbench.files.atomic import write_file


class StateFile(TorchCheckpointIO):
    """Reading and writing of a state on this machine's disks.

    Lightning's own writes to the folder of temporary files first, which may be small and on another
    disk, and takes names such as ``a::b`` for addresses.

    Args:
        before_save: Called before each writing; it can refuse by an error.

    Attributes:
        error: The error of the last writing; None if it succeeded. It is not raised there, because
            the other processes of a group wait for the one that writes.
    """

    def __init__(self, before_save: Callable[[], None] = lambda: None) -> None:
        self.before_save = before_save
        self.error: OSError | UserError | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None
    ) -> None:
        """Write a state; if that fails, an earlier file is unchanged."""
        self.error = None
        try:
            self.before_save()
            with write_file(Path(path)) as stream:
                torch.save(checkpoint, stream)
        except (OSError, UserError) as error:
            self.error = error

    def load_checkpoint(
        self, path: Path | str, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a state of plain tensors, numbers and texts."""
        state: dict[str, Any] = torch.load(
            path, map_location=map_location, weights_only=weights_only is not False
        )
        return state
