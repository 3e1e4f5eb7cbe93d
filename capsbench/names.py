"""The table of names: which model, data module or benchmark a name stands for.

Names are entry points of installed packages, ours (``pyproject.toml``) exactly like those of a
plug-in, so a listing reads plain strings and imports nothing. A path serves in place of a name:
``package.module:Class``, ``file.py:Class``, or ``file.yaml`` for a benchmark.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from capsbench.errors import UserError, in_one_line, unknown

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
            spec = importlib.util.find_spec(self.module) if _is_absolute(self.module) else None
        except (ModuleNotFoundError, ValueError):  # ValueError: a module without a spec
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
        source = self.source()
        try:
            text = source.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise UserError(f"cannot read {source} as text") from None
        if self.kind == "benchmarks":
            titles = (line[6:].strip() for line in text.splitlines() if line.startswith("title:"))
            return next(titles, "").strip("'\"")
        try:
            tree = ast.parse(text, str(source))
        except SyntaxError as error:
            raise _not_python(error) from None
        except ValueError:  # a null byte, before Python 3.12
            raise UserError(f"{source} is not Python") from None
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == self.attribute:
                return (ast.get_docstring(node) or "").partition("\n")[0]
        raise UserError(
            f"{SINGULAR[self.kind]} '{self.name}': no class '{self.attribute}' in {source}"
        )

    def load(self) -> Any:
        """Import the module and return the class.

        Raises:
            UserError: There is no such module, or no such class in it, or it is not Python, or
                imports what is not there, or exits.
        """
        self.source()  # a missing module gets a sentence, most errors inside of it a traceback
        name = _file_module(self.file) if self.file else str(self.module)
        try:
            module = _import_file(self.file) if self.file else importlib.import_module(name)
        except SyntaxError as error:
            raise _not_python(error) from None
        except (ImportError, SystemExit) as error:
            if name.startswith("capsbench."):
                raise  # a bug of our own
            told = in_one_line(error, name)
            raise UserError(f"{SINGULAR[self.kind]} '{self.name}': {told}") from error
        found = getattr(module, self.attribute, None)
        if found is None:
            raise UserError(
                f"{SINGULAR[self.kind]} '{self.name}': no class '{self.attribute}' "
                f"in {self.file or self.module}"
            )
        return found

    def load_subclass(self, base: type) -> Any:
        """Import the module and return the class, which must be a concrete subclass.

        Raises:
            UserError: As `load`, or it is no subclass of ``base``, or an abstract one.
        """
        cls, what = self.load(), f"{SINGULAR[self.kind]} '{self.name}'"
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise UserError(f"{what} is no subclass of {base.__module__}.{base.__qualname__}")
        if inspect.isabstract(cls):
            lacking = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
            raise UserError(f"{what} is abstract; a subclass has to define {lacking}")
        return cls

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
    if name.endswith(".py"):
        raise UserError(f"'{name}' names a file; append :Class, the class that is meant")
    if name not in registered:
        raise unknown(SINGULAR[kind], name, registered)
    return registered[name]


def license_of(kind: Kind, name: str) -> str | None:
    """The licence of the package that registers a name, as an SPDX identifier in small letters.

    None for a path, and where the package names none.
    """
    for point in entry_points(group=f"capsbench.{kind}", name=name):
        if point.dist is not None and "License-Expression" in point.dist.metadata:
            return point.dist.metadata["License-Expression"].lower()
    return None


def from_folder(folder: Path, name: str) -> str:
    """A name such as ``net.py:Net`` as seen from a folder; every other name as it is.

    >>> from_folder(Path("mine"), "net.py:Net"), from_folder(Path("mine"), "cnn-small")
    ('mine/net.py:Net', 'cnn-small')
    """
    place, _, attribute = name.rpartition(":")
    return f"{folder / place}:{attribute}" if place.endswith(".py") else name


def _is_absolute(module: str) -> bool:
    return all(part.isidentifier() for part in module.split("."))


def _not_python(error: SyntaxError) -> UserError:
    return UserError(f"{error.filename}, line {error.lineno}: {error.msg}")


def _existing(path: Path, name: str) -> Path:
    try:
        found = path.is_file()
    except OSError as error:  # such as a name that is too long
        raise UserError(f"cannot read '{name}': {error.strerror}") from None
    if not found:
        raise UserError(f"no file '{path}' (from '{name}')")
    return path


def _file_module(path: Path) -> str:
    """The name under which a file is imported."""
    return f"capsbench_file_{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


def _import_file(path: Path) -> Any:
    name = _file_module(path)
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
