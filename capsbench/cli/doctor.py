"""``capsbench doctor``: versions, devices, settings of the process, data at hand, W&B login."""

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
    require_writable,
)
from capsbench.errors import UserError
from capsbench.names import Target, table
from capsbench.process import settings_in_force


def doctor(
    data_root: DataRoot = None, output: Output = Path("runs"), as_json: AsJson = False
) -> None:
    """Say what is here: versions, devices, settings, data, login.

    Also whether records could be written where they would go. Nothing is sent or changed.
    """
    root = data_root or Path("data")
    facts = {
        "versions": versions(),
        "devices": devices(),
        "process": settings_in_force(),
        "convolutions": convolutions(),
        "data": {name: _found(target, root) for name, target in table("datamodules").items()},
        "wandb": {"login": wandb_login()},
        "output": {str(output): _writable(output)},
    }
    if as_json:
        print_json(facts)
        return
    from rich.table import Table

    shown = Table("", "", "", box=None, pad_edge=False, show_header=False)
    for group, lines in facts.items():
        for position, (name, text) in enumerate(lines.items()):
            shown.add_row("" if position else group, name, text)
    plain_console().print(shown)


def versions() -> dict[str, str]:
    """The versions of Python, of this package and of everything that it requires."""
    required = [line for line in requires("capsbench") or () if "extra ==" not in line]
    names = [match[0] for line in required if (match := re.match(r"[\w.-]+", line))]
    return {
        "python": platform.python_version(),
        "capsbench": __version__,
        **{name: _version(name) for name in names},
    }


def devices() -> dict[str, str]:
    """What torch can compute on."""
    import torch

    found = {"cpu": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads used by torch"}
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_available() else range(0)
    found |= {f"cuda:{number}": torch.cuda.get_device_name(number) for number in cuda}
    if torch.backends.mps.is_available():
        found["mps"] = "available"
    return found


def wandb_login() -> str:
    """Where a key for Weights & Biases would come from; no network, and the key stays unseen."""
    from capsbench.reporting.wandb_login import key_source

    try:
        source = key_source()
    except UserError as error:
        return str(error)
    return f"key in {source}" if source else "not logged in; needed for --wandb online only"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _found(target: Target, data_root: Path) -> str:
    try:
        found: str = target.load().availability(data_root)
    except (ImportError, UserError) as error:  # the rest of the diagnosis still stands
        return f"cannot be imported: {error}"
    return found


def _writable(output: Path) -> str:
    try:
        require_writable(output)
    except UserError as error:
        return str(error)
    return "can be written"


def convolutions() -> dict[str, str]:
    """The form that was the fastest for each large convolution that this machine has computed."""
    from capsbench.capsules.convolution import CHOICES

    return {case: str(entry.get("chosen")) for case, entry in CHOICES.kept().items()}
