"""The table of names: which model, data module or benchmark a name stands for.

Names are entry points of installed packages, ours (``pyproject.toml``) exactly like those of a
plug-in, so a listing reads plain strings and imports nothing. A path serves in place of a name:
``package.module:Class``, ``file.py:Class``, or ``file.yaml`` for a benchmark.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from capsbench.errors import UserError, unknown

Kind = Literal["models", "datamodules", "benchmarks"]
SINGULAR: dict[Kind, str] = {
    "models": "model",
    "datamodules": "data module",
    "benchmarks": "benchmark",
}


@dataclass(frozen=True)
class Target:
    """What a name stands for: an attribute of a module, of a source file, or a YAML file."""

    kind: Kind
    name: str
    module: str | None
    file: Path | None
    attribute: str

    @property
    def slug(self) -> str:
        """The name as a folder: the class alone where the name is a path."""
        return self.name if self.module is None or ":" not in self.name else self.attribute

    def source(self) -> Path:
        """The file that defines the target, found without importing the module itself."""
        if self.file is not None:
            return self.file
        assert self.module is not None
        try:
            spec = importlib.util.find_spec(self.module)
        except ModuleNotFoundError:
            spec = None
        if spec is None or spec.origin is None:
            raise UserError(f"{SINGULAR[self.kind]} '{self.name}': no module '{self.module}'")
        origin = Path(spec.origin)
        return (
            _existing(origin.parent / self.attribute, self.name)
            if self.kind == "benchmarks"
            else origin
        )

    def summary(self) -> str:
        """The first line of the class's docstring (or a YAML's title), read without importing."""
        text = self.source().read_text(encoding="utf-8")
        if self.kind == "benchmarks":
            titles = (line[6:].strip() for line in text.splitlines() if line.startswith("title:"))
            return next(titles, "").strip("'\"")
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.name == self.attribute:
                return (ast.get_docstring(node) or "").partition("\n")[0]
        raise UserError(
            f"{SINGULAR[self.kind]} '{self.name}': no class '{self.attribute}' in {self.source()}"
        )

    def load(self) -> Any:
        """Import the module and return the class.

        Raises:
            UserError: There is no such module, or no such class in it.
        """
        self.source()  # a missing module gets a sentence, an error inside of it a traceback
        module = _import_file(self.file) if self.file else importlib.import_module(str(self.module))
        found = getattr(module, self.attribute, None)
        if found is None:
            raise UserError(
                f"{SINGULAR[self.kind]} '{self.name}': no class '{self.attribute}' "
                f"in {self.file or self.module}"
            )
        return found

    def identity(self) -> str:
        """The name as it enters a fingerprint; a user's own file counts with its contents."""
        if self.file is None or self.kind == "benchmarks":
            return self.name
        return f"{self.attribute}@{sha256(self.file.read_bytes()).hexdigest()[:16]}"


def table(kind: Kind) -> dict[str, Target]:
    """All registered names of a kind, sorted; reads the metadata of installed packages only."""
    points = sorted(entry_points(group=f"capsbench.{kind}"), key=lambda point: point.name)
    return {p.name: Target(kind, p.name, p.module, None, p.attr) for p in points}


def find(kind: Kind, name: str) -> Target:
    """Resolve a name or a path.

    Args:
        kind: ``"models"``, ``"datamodules"`` or ``"benchmarks"``.
        name: A registered name, ``package.module:Class``, ``file.py:Class``, or ``file.yaml``.

    Raises:
        UserError: The name is not registered, or the path leads nowhere.
    """
    if kind == "benchmarks" and name.endswith((".yaml", ".yml")):
        return Target(kind, name, None, _existing(Path(name), name), "")
    if kind != "benchmarks" and ":" in name:
        place, _, attribute = name.rpartition(":")
        if place.endswith(".py"):
            return Target(kind, name, place, _existing(Path(place), name), attribute)
        return Target(kind, name, place, None, attribute)
    registered = table(kind)
    if name not in registered:
        raise unknown(SINGULAR[kind], name, registered)
    return registered[name]


def _existing(path: Path, name: str) -> Path:
    if not path.is_file():
        raise UserError(f"no file '{path}' (from '{name}')")
    return path


def _import_file(path: Path) -> Any:
    name = f"capsbench_file_{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
