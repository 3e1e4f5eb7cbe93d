"""Variables of the environment, each with one parser; what is empty counts as not set."""

from __future__ import annotations

import os
from pathlib import Path

from capsbench.errors import UserError

# Whole numbers that torchrun, srun and users set for groups of processes, and Lightning reads.
PROCESS_NUMBERS = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_PORT",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_NTASKS",
    "SLURM_JOB_ID",
    "JSM_NAMESPACE_RANK",
    "JSM_NAMESPACE_LOCAL_RANK",
    "JSM_NAMESPACE_SIZE",
)
MIN_COLUMNS = 20  # in a narrower terminal no table is legible


def require_valid() -> None:
    """Check and complete the environment at the start of a process, before torch is imported.

    Raises:
        UserError: A variable has no valid value, or the working directory was deleted.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the working directory was deleted; change to another one") from None
    for name in PROCESS_NUMBERS:
        if os.environ.get(name) == "":
            del os.environ[name]  # Lightning would refuse it
        whole_number(name)
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) < MIN_COLUMNS:
        del os.environ["COLUMNS"]
    _leave_out_settings_of_matplotlib()


def _leave_out_settings_of_matplotlib() -> None:
    """Keep matplotlib, which is imported later, from settings that it fails at or warns of.

    Figures are drawn into files, in a style of their own.

    Raises:
        UserError: The working directory has a file of settings, which cannot be left out, and it is
            no text.
    """
    os.environ["MPLBACKEND"] = "agg"
    os.environ["MATPLOTLIBRC"] = os.devnull
    settings = Path("matplotlibrc")
    try:
        if settings.is_file():
            settings.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UserError(
            f"matplotlib cannot read '{settings.absolute()}'; remove it, or work in another folder"
        ) from None


def whole_number(name: str, default: int = 0) -> int:
    """Return a variable as a whole number that is not negative.

    Raises:
        UserError: It has another value.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"the environment sets {name} to '{text}'; expected a whole number from 0")
    return int(text)


def is_on(name: str) -> bool:
    """Return True if a variable is 1, False if it is 0 or not set.

    Raises:
        UserError: It has another value.
    """
    text = os.environ.get(name, "")
    if text not in ("", "0", "1"):
        raise UserError(f"the environment sets {name} to '{text}'; expected 0 or 1")
    return text == "1"
