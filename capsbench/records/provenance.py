"""Provenance: the versions, commit and date that a number comes from."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from capsbench.records.record import RecordPart

# Commit of a copy of the checkout that an executor shipped to another machine, without .git.
SHIPPED_COMMIT = "CAPSBENCH_SHIPPED_COMMIT"
PACKAGES = (
    "capsbench",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "kornia",
    "wandb",
    "numpy",
    "scikit-learn",
    "scipy",
)


class Provenance(RecordPart):
    """Origin of a record.

    Attributes:
        versions: Version of Python and of each package that results depend on.
        commit: Commit of the checkout, with ``+`` if files differ from it; None outside a checkout.
        date: Time in UTC, ISO 8601.
    """

    versions: dict[str, str]
    commit: str | None = None
    date: str

    @classmethod
    def now(cls) -> Provenance:
        """Return the provenance of a record that is made now, by this code."""
        return cls(
            versions={"python": platform.python_version()}
            | {name: version(name) for name in PACKAGES},
            commit=current_commit(),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def current_commit() -> str | None:
    """Return the commit of the running checkout, ``+`` if files differ; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return os.environ.get(SHIPPED_COMMIT) or None
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+" if changed else head


def _git(root: Path, *arguments: str) -> str:
    result = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True,
        encoding="utf-8",
        errors="replace",  # names of changed files
        check=True,
    )
    return result.stdout.strip()
