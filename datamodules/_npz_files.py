"""NPZ files of recorded views that a user provides: their names, checksums and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import numpy as np

from capsbench.errors import UserError
from capsbench.files.arrays import Arrays
from capsbench.files.content import Content, open_checked, read, stream_sha256
from capsbench.files.folders import misplaced
from capsbench.formats.npz import ArraySpec, read_npz


@dataclass(frozen=True)
class NpzSet:
    """Place, checksums and content of a set's files: one, or parts of the set side by side.

    Parts have different objects or views of the set, and images of one size. Their images are
    sorted by the view, as those of the known files are: the splits do not depend on the parts.

    Attributes:
        folder_name: Folder of the files under the data root.
        pattern: Pattern of their names, such as ``coil20_*.npz``.
        known: SHA-256 of files by name; any other file is identified by its own SHA-256.
        channels: Numbers of channels that images may have.
        required: The arrays that are read, each with a row for every image; see `read_npz`.
            ``images`` are (N, H, W) or (N, H, W, channels), and ``masks`` as large; both are uint8.
        view: Names of the required arrays that tell an image from all others of the set.
        names: Arrays of text that a file may have, and what they then are.
    """

    folder_name: str
    pattern: str
    known: Mapping[str, str]
    channels: tuple[int, ...]
    required: Mapping[str, ArraySpec]
    view: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def paths(self, data_root: Path) -> list[Path]:
        """Return the files in the order of their names."""
        folder = data_root / self.folder_name
        return sorted(path for path in folder.glob(self.pattern) if path.is_file())

    def checksum(self, data_root: Path) -> str:
        """Return the checksum of the set.

        It is that of its file, or of the checksums of its files one after the other. If there is no
        file, it is that of the known file, or ``unknown``.
        """
        sums = []
        for path in self.paths(data_root):
            if path.name in self.known:  # verified when it is read
                sums.append(self.known[path.name])
                continue
            with open_checked(path) as stream:
                sums.append(stream_sha256(stream))
        return _joined(sums or [next(iter(self.known.values()), "unknown")])

    def read(self, data_root: Path, checksum: str) -> Arrays:
        """Return the required arrays of all files, with a row for each image.

        Args:
            data_root: Folder of data files.
            checksum: Checksum of the set, see `checksum`; the files must still have it.

        Raises:
            UserError: There is no file, one is damaged, has another checksum, lacks an array or has
                changed; or files do not belong together.
        """
        paths = self.paths(data_root)
        if not paths:
            raise UserError(
                f"{self.folder_name}: {self.status_line(data_root)}, or give another --data-root"
            )
        contents = [read(path, self.known.get(path.name)) for path in paths]
        actual = _joined([content.sha256 for content in contents])
        if actual != checksum:
            raise UserError(
                f"the files in {paths[0].parent} have changed since the data module was made "
                f"({checksum}, now {actual}); make it again"
            )
        parts = {content.name: self._arrays(content) for content in contents}
        for (one, first), (other, second) in combinations(parts.items(), 2):
            self._require_fit(one, first, other, second)
        if len(parts) == 1:
            return next(iter(parts.values()))
        joined = {
            name: np.concatenate([each[name] for each in parts.values()]) for name in self.required
        }
        order = np.lexsort([joined[name] for name in reversed(self.view)])
        return {name: array[order] for name, array in joined.items()}

    def status_line(self, data_root: Path) -> str:
        """Return one line that says if files are there, and what to do if not."""
        paths = self.paths(data_root)
        if paths:
            return f"found {', '.join(map(str, paths))}"
        name, folder = next(iter(self.known), self.pattern), data_root / self.folder_name
        return f"not found; put {name} in {folder}{misplaced(folder, [name])}"

    def _arrays(self, content: Content) -> Arrays:
        """Return the required arrays of a file after their shapes were checked."""
        optional: dict[str, ArraySpec] = dict.fromkeys(self.names, (1, "U"))
        arrays = read_npz(content, self.required, optional)
        for name, expected in self.names.items():
            given = arrays.pop(name, np.array(expected))
            if given.shape != (len(expected),) or tuple(given) != expected:
                raise content.damaged(f"{name!r} {', '.join(expected)}", "others")
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

    def _require_fit(self, one: str, first: Arrays, other: str, second: Arrays) -> None:
        """Refuse two files of images of different sizes, or with images of the same view."""
        sizes = [" x ".join(map(str, each["images"].shape[1:])) for each in (first, second)]
        if sizes[0] != sizes[1]:
            raise UserError(
                f"{one} has images of {sizes[0]}, {other} of {sizes[1]}: expected parts of one "
                "set, with images of one size; leave one of them there"
            )
        both = self._views(first) & self._views(second)
        if both:
            view = dict(zip(self.view, min(both), strict=True))
            raise UserError(
                f"{one} and {other} both have the image of {view}, and {len(both) - 1} others: "
                "expected parts of one set, with each image once; leave one of them there"
            )

    def _views(self, arrays: Arrays) -> set[tuple[int, ...]]:
        return set(zip(*(arrays[name].tolist() for name in self.view), strict=True))


def _joined(sums: list[str]) -> str:
    """Return one checksum of files: the only one, or that of all one after the other."""
    one = sums[0] if len(sums) == 1 else sha256("".join(sums).encode()).hexdigest()
    return f"sha256:{one}"
