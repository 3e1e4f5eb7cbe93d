"""Checks of the login to Weights & Biases and of its server, which change nothing."""

from __future__ import annotations

import logging
import netrc
import os
import socket
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from capsbench.errors import UserError

log = logging.getLogger(__name__)
Mode = Literal["offline", "online"]
CONNECT_TIMEOUT = 5.0  # seconds; wandb itself would wait 90 for a server that does not answer
FIRST_HOST = "api.wandb.ai"  # keys saved for it are also valid for the default server


def server() -> SplitResult:
    """Return the address of the server that wandb would use.

    Raises:
        UserError: It is no address.
    """
    from wandb import Settings

    address = os.environ.get("WANDB_BASE_URL") or Settings().base_url
    try:
        return urlsplit(address)
    except ValueError as error:
        raise UserError(f"the environment sets WANDB_BASE_URL to '{address}' ({error})") from None


def key_source() -> str | None:
    """Return the place of the API key, not the key; None if there is none.

    Raises:
        UserError: The netrc file cannot be read, or the server's address is none.
    """
    if os.environ.get("WANDB_API_KEY"):
        return "WANDB_API_KEY"
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        accounts = netrc.netrc(path)
    except FileNotFoundError:
        return None
    except (OSError, netrc.NetrcParseError) as error:
        raise UserError(f"{path} cannot be read ({error})") from None
    hosts = [server().netloc]
    if "WANDB_BASE_URL" not in os.environ:
        hosts.append(FIRST_HOST)
    return str(path) if any(accounts.authenticators(host) for host in hosts) else None


def offline_reason() -> str | None:
    """Return the reason why a run cannot be mirrored online; None if it can."""
    try:
        if key_source() is None:
            return "not logged in (wandb login)"
        url = server()
    except UserError as error:
        return str(error)
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((str(url.hostname), port), timeout=CONNECT_TIMEOUT).close()
    except (OSError, ValueError) as error:
        return f"{url.hostname} cannot be reached ({error})"
    return None


def usable_mode(mode: Mode) -> Mode:
    """Return the usable mode: ``online`` needs a key and a server that answers in seconds."""
    reason = offline_reason() if mode == "online" else None
    if reason is None:
        return mode
    log.warning("Weights & Biases: %s; mirroring offline", reason)
    return "offline"
