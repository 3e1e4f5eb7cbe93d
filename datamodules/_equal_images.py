"""Images of a user's folder that are equal: none under two classes, none in two splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from capsbench.errors import UserError


def require_distinct(
    files: Sequence[Path],
    sums: Sequence[bytes],
    classes: Sequence[str],
    splits: Sequence[str] | None,
    what: str,
) -> None:
    """Refuse equal images of two classes, which no model can tell apart, or in two splits.

    Args:
        files: N files.
        sums: N checksums of their contents or pixels.
        classes: N names of classes.
        splits: N names of splits; None if equal images may be in two splits.
        what: What equal images are, for the message.

    Raises:
        UserError: Two images with the same checksum differ in class or split.
    """
    first: dict[bytes, int] = {}
    for row, value in enumerate(sums):
        other = first.setdefault(value, row)
        if classes[other] != classes[row]:
            raise UserError(
                f"{files[other]} (class {classes[other]!r}) and {files[row]} (class "
                f"{classes[row]!r}) are {what}, which has one class: correct it, or remove one "
                "from the table"
            )
        if splits is not None and splits[other] != splits[row]:
            raise UserError(
                f"{files[other]} ({splits[other]}) and {files[row]} ({splits[row]}) are {what}, "
                "which belongs to one split: remove one from the table, or set equal_images=allow"
            )
