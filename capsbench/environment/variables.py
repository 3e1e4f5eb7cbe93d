"""Variables of the environment, each with one parser; what is empty counts as not set."""

from __future__ import annotations

import logging
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
        UserError: The working directory was deleted.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the working directory was deleted; change to another one") from None
    for name in PROCESS_NUMBERS:
        if os.environ.get(name) in ("", "-1"):  # the latter once meant: no group of processes
            del os.environ[name]  # Lightning would refuse or use it
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) < MIN_COLUMNS:
        del os.environ["COLUMNS"]
    # It warns of bad lines in a user's file of settings, which no figure uses.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def require_process_numbers() -> None:
    """Check the variables of groups of processes before a training.

    Raises:
        UserError: One is not a whole number.
    """
    for name in PROCESS_NUMBERS:
        whole_number(name)


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
