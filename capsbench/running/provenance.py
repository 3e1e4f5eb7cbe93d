"""Where a number comes from: versions, commit, date."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

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
)


def provenance() -> dict[str, Any]:
    """Versions of what a result depends on, the source's commit, and the time (UTC)."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"versions": versions, "commit": commit(), "date": date}


def commit() -> str | None:
    """The commit of the checkout that runs, with ``+`` where files differ; None outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+" if changed else head


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
