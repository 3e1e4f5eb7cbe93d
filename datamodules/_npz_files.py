"""NPZ files of recorded views that a user provides: their names, checksums and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from capsbench.errors import UserError
from capsbench.files.arrays import Arrays
from capsbench.files.content import open_checked, read, stream_sha256
from capsbench.formats.npz import ArraySpec, read_npz


@dataclass(frozen=True)
class NpzSet:
    """Place, checksum and content of a set's file.

    Attributes:
        folder_name: Folder of the file under the data root.
        pattern: Pattern of its name, such as ``coil20_*.npz``.
        known: SHA-256 of files by name; any other file is identified by its own SHA-256.
        channels: Numbers of channels that images may have.
    """

    folder_name: str
    pattern: str
    known: Mapping[str, str]
    channels: tuple[int, ...]

    def path(self, data_root: Path) -> Path | None:
        """Return the file, if there is one.

        Raises:
            UserError: There are several files of such a name.
        """
        paths = sorted((data_root / self.folder_name).glob(self.pattern))
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise UserError(f"{paths[0].parent} holds {names}; leave one of them there")
        return paths[0] if paths else None

    def checksum(self, data_root: Path) -> str:
        """Return the checksum of the file; if it is missing, of the known file or ``unknown``."""
        path = self.path(data_root)
        if path is None:
            return f"sha256:{next(iter(self.known.values()), 'unknown')}"
        if path.name in self.known:  # verified when it is read
            return f"sha256:{self.known[path.name]}"
        with open_checked(path) as stream:
            return f"sha256:{stream_sha256(stream)}"

    def read(self, data_root: Path, required: Mapping[str, ArraySpec]) -> Arrays:
        """Return the required arrays of the file, see `read_npz`, with a row for each image.

        ``images`` are (N, H, W) or (N, H, W, channels), and ``masks`` as large; both are uint8.

        Raises:
            UserError: The file is missing, damaged or has another checksum, or lacks an array.
        """
        path = self.path(data_root)
        if path is None:
            raise UserError(
                f"{self.folder_name}: {self.status_line(data_root)}, or give another --data-root"
            )
        content = read(path, self.known.get(path.name))
        arrays = read_npz(content, required)
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise content.damaged("a row for each image in every array", str(lengths))
        images = arrays["images"]
        if not len(images):
            raise content.damaged("images", "none")
        for name, array in arrays.items():
            if array.ndim > 1 and array.dtype != np.uint8:
                raise content.damaged(f"{name!r} as uint8", str(array.dtype))
            if array.ndim > 1 and array.shape[:3] != images.shape[:3]:
                raise content.damaged(f"{name!r} as large as the images", str(array.shape))
        if images.ndim == 4 and images.shape[3] not in self.channels:
            allowed = " or ".join(map(str, self.channels))
            raise content.damaged(f"images with {allowed} channels", str(images.shape))
        return arrays

    def status_line(self, data_root: Path) -> str:
        """Return one line that says if the file is there, and what to do if not."""
        path = self.path(data_root)
        if path is not None:
            return f"found {path}"
        name = next(iter(self.known), self.pattern)
        return f"not found; put {name} in {data_root / self.folder_name}"
