"""File of a resumable state, written beside its place and put there by one rename."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from capsbench.files.atomic import write_file


class StateFile(TorchCheckpointIO):
    """Reading and writing of a state on this machine's disks.

    Lightning's own writes to the folder of temporary files first, which may be small and on another
    disk, and takes names such as ``a::b`` for addresses.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None
    ) -> None:
        """Write a state.

        Raises:
            OSError: The file cannot be written; an earlier one is unchanged.
        """
        with write_file(Path(path)) as stream:
            torch.save(checkpoint, stream)

    def load_checkpoint(
        self, path: Path | str, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a state of plain tensors, numbers and texts."""
        state: dict[str, Any] = torch.load(
            path, map_location=map_location, weights_only=weights_only is not False
        )
        return state
