"""``capsbench doctor``: versions, devices, process settings, local data, W&B login."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from capsbench import __version__
from capsbench.cli.options import (
    AsJson,
    DataRoot,
    Output,
    plain_console,
    print_json,
)
from capsbench.errors import UserError
from capsbench.files.folders import require_folder, require_writable
from capsbench.names import Target, table
from capsbench.process import active_settings


def doctor(
    data_root: DataRoot = None, output: Output = Path("runs"), as_json: AsJson = False
) -> None:
    """Show versions, devices and data.

    Also process settings, the W&B login, and write access to the output folder. Nothing is sent or
    changed.
    """
    require_folder(data_root)
    root = data_root or Path("data")
    facts = {
        "versions": versions(),
        "devices": devices(),
        "process": active_settings(),
        "data": {
            name: _availability(target, root) for name, target in table("datamodules").items()
        },
        "wandb": {"login": wandb_login()},
        "output": {str(output): _writable(output)},
    }
    if as_json:
        print_json(facts)
        return
    from rich.table import Table

    rows = Table("", "", "", box=None, pad_edge=False, show_header=False)
    for group, lines in facts.items():
        for position, (name, text) in enumerate(lines.items()):
            rows.add_row("" if position else group, name, text)
    plain_console().print(rows)


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of its requirements."""
    required = [line for line in requires("capsbench") or () if "extra ==" not in line]
    names = [match[0] for line in required if (match := re.match(r"[\w.-]+", line))]
    return {
        "python": platform.python_version(),
        "capsbench": __version__,
        **{name: _version(name) for name in names},
    }


def devices() -> dict[str, str]:
    """Return the devices of torch."""
    import torch

    names = {"cpu": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads used by torch"}
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_available() else range(0)
    names |= {f"cuda:{number}": torch.cuda.get_device_name(number) for number in cuda}
    if torch.backends.mps.is_available():
        names["mps"] = "available"
    return names


def wandb_login() -> str:
    """Return the place of the key for Weights & Biases, without network and without the key."""
    from capsbench.reporting.wandb.login import find_key

    try:
        key = find_key()
    except UserError as error:
        return str(error)
    return f"key in {key.place}" if key else "not logged in; needed for --wandb online only"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _availability(target: Target, data_root: Path) -> str:
    try:
        status: str = target.load().availability(data_root)
    except (ImportError, UserError) as error:  # the other lines are still useful
        return f"cannot be imported: {error}"
    return status


def _writable(output: Path) -> str:
    try:
        require_writable(output)
    except UserError as error:
        return str(error)
    return "writable"
