"""Login to Weights & Biases: the key, and a check of it and of the server before a run begins."""

from __future__ import annotations

import atexit
import base64
import json
import logging
import netrc
import os
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from typing import Literal, NamedTuple
from urllib.error import HTTPError
from urllib.parse import SplitResult, urlsplit
from urllib.request import Request, urlopen

from capsbench.errors import UserError

log = logging.getLogger(__name__)
Mode = Literal["offline", "online"]
TIMEOUT = 10.0  # seconds; wandb itself would wait 90 for a server that does not answer
LAST_TIMEOUT = 2.0  # seconds that a process waits for wandb when it ends, after a failure
FIRST_HOST = "api.wandb.ai"  # keys saved for it are also valid for the default server
QUERY = json.dumps({"query": "query Viewer { viewer { id entity } }"}).encode()


class Key(NamedTuple):
    """An API key.

    Attributes:
        place: Where it was found.
        value: The key, which is never shown.
    """

    place: str
    value: str


class Login(NamedTuple):
    """Outcome of a login.

    Attributes:
        entity: User or team of the key; empty if it is not known.
        problem: Reason why no run can be online; None if one can.
    """

    entity: str = ""
    problem: str | None = None


def server() -> SplitResult:
    """Return the address of the server that wandb would use.

    Raises:
        UserError: It is no address.
    """
    from wandb import Settings

    address = os.environ.get("WANDB_BASE_URL") or Settings().base_url
    try:
        url = urlsplit(address)
        _ = url.port
    except ValueError as error:
        raise UserError(f"the environment sets WANDB_BASE_URL to '{address}' ({error})") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise UserError(f"the environment sets WANDB_BASE_URL to '{address}', which is no address")
    return url


def find_key() -> Key | None:
    """Return the API key; None if there is none.

    Raises:
        UserError: The netrc file cannot be read, or the server's address is none.
    """
    if value := os.environ.get("WANDB_API_KEY"):
        return Key("WANDB_API_KEY", value)
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
    found = (accounts.authenticators(host) for host in hosts)
    return next((Key(str(path), account[2]) for account in found if account), None)


def check_login(timeout: float) -> Login:
    """Try the key and the server.

    Args:
        timeout: Seconds within which the server must answer.
    """
    try:
        key, url = find_key(), server()
    except UserError as error:
        return Login(problem=str(error))
    if key is None:
        return Login(problem="not logged in (wandb login)")
    login = base64.b64encode(f"api:{key.value}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
    request = Request(f"{url.geturl().rstrip('/')}/graphql", QUERY, headers)
    refused = f"{url.hostname} refuses the key in {key.place}"
    try:
        with urlopen(request, timeout=timeout) as response:
            viewer = (json.load(response).get("data") or {}).get("viewer")
            return Login(viewer.get("entity") or "") if viewer else Login(problem=refused)
    except HTTPError as error:
        other = f"{url.hostname} answers with HTTP {error.code}"
        return Login(problem=refused if error.code in (401, 403) else other)
    except TimeoutError:
        return Login(problem=f"{url.hostname} does not answer within {timeout:g} s")
    except OSError as error:
        return Login(problem=f"{url.hostname} cannot be reached ({error})")
    except (HTTPException, ValueError, AttributeError):
        return Login(problem=f"{url.hostname} is no server of Weights & Biases")


def end_in_time() -> None:
    """Let the process end soon after a failure: the service of wandb may still try to send."""
    atexit.unregister(_end_service)
    atexit.register(_end_service)  # before the hook of wandb, which waits without a limit


def _end_service() -> None:
    thread = Thread(target=_tear_down, daemon=True)
    thread.start()
    thread.join(LAST_TIMEOUT)


def _tear_down() -> None:
    import wandb

    with suppress(AssertionError):  # a service that began after the failure has ended before
        wandb.teardown()


def usable_mode(mode: Mode) -> Mode:
    """Return the usable mode: ``online`` needs a valid key and a server that answers in 10 s."""
    problem = check_login(TIMEOUT).problem if mode == "online" else None
    if problem is None:
        return mode
    log.warning("Weights & Biases: %s; the runs are kept offline", problem)
    return "offline"
