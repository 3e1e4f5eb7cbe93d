"""Names of code in a benchmark file: their places, and the user's trust in them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from capsbench.errors import UserError
from capsbench.names import TRUST_CODE, Kind, is_trusted, trust, trusted_paths

# Places of names in a benchmark, also at the end of a place in `scales` and `vary`.
PLACES: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"(.*\.)?data\.name"), "datamodules"),
    (re.compile(r"(.*\.)?models\.\d+\.name"), "models"),
    (re.compile(r"(.*\.)?measures\.\d+\.measure"), "measures"),
)
Replace = Callable[[Kind, str], str]  # the name in place of another one


def replace_names(content: Mapping[str, Any], replace: Replace) -> dict[str, Any]:
    """Return a benchmark, or changes by dotted place, with every name in it replaced.

    Args:
        content: Values by field or by dotted place.
        replace: Function of a name; one that returns the name itself can collect names.
    """
    return {place: _replaced(str(place), value, replace) for place, value in content.items()}


def _replaced(place: str, value: Any, replace: Replace) -> Any:
    if isinstance(value, str):
        kinds = [kind for pattern, kind in PLACES if pattern.fullmatch(place)]
        return replace(kinds[0], value) if kinds else value
    if isinstance(value, list):
        return [_replaced(f"{place}.{number}", each, replace) for number, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    content = {key: _replaced(f"{place}.{key}", each, replace) for key, each in value.items()}
    if place.rpartition(".")[2] == "vary" and isinstance(value.get("place"), str):
        varied, at = value["place"], value.get("values")
        if isinstance(at, dict):
            content["values"] = {key: _replaced(varied, each, replace) for key, each in at.items()}
        elif isinstance(at, list):
            content["values"] = [_replaced(varied, each, replace) for each in at]
    return content


def trust_names(content: Mapping[str, Any]) -> None:
    """Trust every name in changes that the user makes."""

    def trusted(_: Kind, name: str) -> str:
        trust(name)
        return name

    replace_names(content, trusted)


def require_trusted_names(content: Mapping[str, Any], folder: Path | None) -> None:
    """Refuse names of code that the user does not trust, before anything is imported.

    Code in the folder of the file is trusted, since the file and its code come together. A line on
    the error stream states that it runs.

    Args:
        content: The benchmark.
        folder: Folder of the file; None for a registered benchmark.

    Raises:
        UserError: A path lies outside of the folder, or names a module of an installed package
            that is not registered.
    """

    def required(kind: Kind, name: str) -> str:
        require_code(kind, name, folder)
        return name

    replace_names(content, required)


def is_inside(path: Path, folder: Path) -> bool:
    """Check that a path lies in a folder, after symbolic links and ``..``."""
    return path.resolve().is_relative_to(folder.resolve())


def require_code(kind: Kind, name: str, folder: Path | None) -> None:
    """Refuse one name, see `require_trusted_names`."""
    if ":" not in name or is_trusted(kind, name):
        return
    place = Path(name.rpartition(":")[0])
    if folder is not None and place.suffix == ".py":
        if not is_inside(place, folder):
            raise UserError(
                f"'{name}' lies outside of the file's folder {folder.resolve()}; if you trust its "
                f"code, add {TRUST_CODE}"
            )
        if not any(path.startswith(f"{place.resolve()}:") for path in trusted_paths()):
            sys.stderr.write(f"runs code of {place}\n")
        trust(name)
        return
    from capsbench.wrapping.recorded_names import require_known  # imports torch

    require_known(kind, name)
