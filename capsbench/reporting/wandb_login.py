"""Whether Weights & Biases could be reached from here, asked without disturbing anything."""

from __future__ import annotations

import netrc
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from capsbench.errors import UserError

REACH_TIMEOUT = 5.0  # seconds; wandb itself would wait 90 for a server that does not answer
FIRST_HOST = "api.wandb.ai"  # keys saved for it also serve its successor, the present default


def server() -> str:
    """The address of the server that wandb would use."""
    from wandb import Settings

    return os.environ.get("WANDB_BASE_URL") or Settings().base_url


def key_source() -> str | None:
    """Where an API key would come from, or None where there is none; the key stays unseen.

    Raises:
        UserError: There is a netrc file that cannot be read.
    """
    if os.environ.get("WANDB_API_KEY"):
        return "WANDB_API_KEY"
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        known = netrc.netrc(path)
    except FileNotFoundError:
        return None
    except (OSError, netrc.NetrcParseError) as error:
        raise UserError(f"{path} cannot be read ({error})") from None
    hosts = [urlsplit(server()).netloc]
    if "WANDB_BASE_URL" not in os.environ:
        hosts.append(FIRST_HOST)
    return str(path) if any(known.authenticators(host) for host in hosts) else None


def why_offline() -> str | None:
    """Why a run cannot be mirrored online, in a few words, or None where it can."""
    try:
        if key_source() is None:
            return "not logged in (wandb login)"
    except UserError as error:
        return str(error)
    place = urlsplit(server())
    try:
        port = place.port or (443 if place.scheme == "https" else 80)
        socket.create_connection((str(place.hostname), port), timeout=REACH_TIMEOUT).close()
    except (OSError, ValueError) as error:
        return f"{place.hostname} is out of reach ({error})"
    return None
