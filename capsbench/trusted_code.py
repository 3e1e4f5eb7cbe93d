"""Trust in code: a path in a file or record, which can come from anywhere, needs the user's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from capsbench.errors import UserError
from capsbench.names import SINGULAR, Kind, table

FILES = (".py", ".yaml", ".yml")
TRUST_CODE = "--trust-code (in Python, trust_code=True)"
_TRUSTED: set[str] = set()  # files and `package.module:Class` of this process
_TRUSTING: ContextVar[bool] = ContextVar("trusting code", default=False)


def trust(name: str) -> None:
    """Let a path be used in files and records of this process, since the user gave or trusts it."""
    _TRUSTED.add(_code(name))


@contextmanager
def trusting_code(enabled: bool = True) -> Iterator[None]:
    """Trust every path of files and records, also later; the meaning of ``--trust-code``."""
    token = _TRUSTING.set(enabled or _TRUSTING.get())
    try:
        yield
    finally:
        _TRUSTING.reset(token)


def is_trusted(kind: Kind, name: str) -> bool:
    """Check that a name is registered, a path that the user trusts, or of torchvision or timm.

    A record that states ``os:system`` must call nothing.
    """
    registered = table(kind)
    if not _is_path(name):
        return name in registered
    if _TRUSTING.get():
        trust(name)
    paths = (f"{target.module}:{target.attribute}" for target in registered.values())
    if _code(name) in _TRUSTED or name in paths:
        return True
    if kind != "models":
        return False
    from capsbench.wrapping.built_model import is_library_network  # imports torch

    return is_library_network(name)


def require_trusted(kind: Kind, name: str, folder: Path | None = None) -> None:
    """Refuse a path of a file or record that the user does not trust; nothing is imported.

    Code in the folder of the file is trusted from then on, since the file and its code come
    together. A line on the error stream states it. A name that is no path runs no code that the
    user has not installed, see `capsbench.names.find`.

    Args:
        kind: Kind of the name.
        name: The name or path.
        folder: Folder of the file that states it; None for a record or a registered benchmark.

    Raises:
        UserError: The path lies outside of the folder, or no installed package registers it.
    """
    if not _is_path(name) or is_trusted(kind, name):
        return
    code = _code(name)
    if folder is None or not code.endswith(FILES):
        raise UserError(
            f"{SINGULAR[kind]} '{name}' is code that no installed package registers; if you trust "
            f"it, add {TRUST_CODE}"
        )
    if not Path(code).is_relative_to(folder.resolve()):
        raise UserError(
            f"'{name}' lies outside of the file's folder {folder.resolve()}; if you trust its "
            f"code, add {TRUST_CODE}"
        )
    if kind != "benchmarks":
        sys.stderr.write(f"running this file runs code of {name.rpartition(':')[0]}\n")
    trust(name)


def _is_path(name: str) -> bool:
    return ":" in name or name.endswith(FILES[1:])


def _code(name: str) -> str:
    """Return the file of a path without symbolic links; every other name unchanged."""
    place = name if name.endswith(FILES) else name.rpartition(":")[0]
    return str(Path(place).resolve()) if place.endswith(FILES) else name
