"""Offline runs sent to Weights & Biases, several at once, by ``wandb sync``.

What is made from records is written offline first: no table or artifact then waits for the server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryFile

from capsbench.reporting.wandb.login import TIMEOUT, check_login
from capsbench.reporting.wandb.run import Destination

UPLOAD_TIMEOUT = 600.0  # seconds for the next run to arrive, if large files are sent
POLL = 0.05  # seconds


def send(folders: Collection[Path], destination: Destination) -> set[Path]:
    """Send offline runs; return the folders of those that arrived.

    It ends when no further run arrives for 10 seconds, which is a failure of the destination. With
    large files it waits longer, as long as the server answers.

    Args:
        folders: Folders of the runs.
        destination: Their place.
    """
    try:
        reason = _sync(folders, destination)
    except OSError as error:  # of a full disk or too little memory
        reason = str(error)
    arrived = _arrived(folders)
    if len(arrived) < len(folders):
        destination.add_failure(reason)
    return arrived


def _sync(folders: Collection[Path], destination: Destination) -> str:
    """Send runs in a process of their own; return its last line, or a reason why it was ended."""
    command = [sys.executable, "-m", "wandb", "sync", *map(str, folders)]
    with TemporaryFile() as messages:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages
        )
        try:
            while process.poll() is None and not os.fstat(messages.fileno()).st_size:
                time.sleep(POLL)  # its imports are not the server's time
            reason = _wait(process, folders, destination)
        finally:
            process.kill()  # the service that it has started ends with it
            process.wait()
        messages.seek(0)
        lines = messages.read().decode(errors="replace").splitlines()
        return reason or (lines[-1] if lines else "wandb sync has failed")


def _wait(
    process: subprocess.Popen[bytes], folders: Collection[Path], destination: Destination
) -> str:
    """Wait until a process has sent all runs; return a reason if it makes no progress."""
    limit = UPLOAD_TIMEOUT if destination.uploads else TIMEOUT
    number, last_arrival = 0, time.monotonic()
    last_check = last_arrival
    while process.poll() is None:
        time.sleep(POLL)
        now = time.monotonic()
        if (arrived := len(_arrived(folders))) > number:
            number, last_arrival, last_check = arrived, now, now
        if now - last_arrival > limit:
            return f"only {number} of {len(folders)} runs arrived, and none in the last {limit:g} s"
        if destination.uploads and now - last_check > TIMEOUT / 2:
            if problem := check_login(TIMEOUT / 2).problem:
                return problem
            last_check = time.monotonic()
    return ""


def _arrived(folders: Collection[Path]) -> set[Path]:
    """Return the folders with the mark that wandb makes when all of a run is sent."""
    return {folder for folder in folders if any(folder.glob("*.wandb.synced"))}
