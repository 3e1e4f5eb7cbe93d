"""NPZ files of recorded views that a user puts in place: which one it is, and what it must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from capsbench.errors import UserError
from capsbench.files.arrays import Arrays
from capsbench.files.content import opened, read, stream_sha256
from capsbench.formats.npz import Kind, read_npz


@dataclass(frozen=True)
class NpzSet:
    """Where a set's file lies.

    Attributes:
        folder_name: Its folder under the data root.
        pattern: What its name is like, such as ``coil20_*.npz``.
        known: SHA-256 of files of known names; others are known by their own.
        channels: How many channels images may have.
    """

    folder_name: str
    pattern: str
    known: Mapping[str, str]
    channels: tuple[int, ...]

    def path(self, data_root: Path) -> Path | None:
        """The file, if it is there.

        Raises:
            UserError: There are several of such a name.
        """
        found = sorted((data_root / self.folder_name).glob(self.pattern))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise UserError(f"{found[0].parent} holds {names}; leave one of them there")
        return found[0] if found else None

    def checksum(self, data_root: Path) -> str:
        """The checksum of the file; where it is not there, of the only one that is known."""
        path = self.path(data_root)
        if path is None:
            return f"sha256:{next(iter(self.known.values()), 'of a file that is not at hand')}"
        if path.name in self.known:  # checked when it is read
            return f"sha256:{self.known[path.name]}"
        with opened(path) as stream:
            return f"sha256:{stream_sha256(stream)}"

    def read(self, data_root: Path, wanted: Mapping[str, Kind]) -> Arrays:
        """The wanted arrays of the file, see `read_npz`; each has a row for each image.

        ``images`` are (N, H, W) or (N, H, W, channels), and ``masks`` as large; both are uint8.

        Raises:
            UserError: The file is not there, is damaged or another one, or lacks an array.
        """
        path = self.path(data_root)
        if path is None:
            raise UserError(
                f"{self.folder_name}: {self.told(data_root)}, or name its root by --data-root"
            )
        content = read(path, self.known.get(path.name))
        arrays = read_npz(content, wanted)
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

    def told(self, data_root: Path) -> str:
        """In one line, whether the file is there, and what to do if not."""
        path = self.path(data_root)
        if path is not None:
            return f"found {path}"
        name = next(iter(self.known), self.pattern)
        return f"not found; put {name} in {data_root / self.folder_name}"
