"""The table of names of models, data modules, measures and benchmarks.

Names are entry points of installed packages: ours (``pyproject.toml``) exactly like those of a
plug-in. A listing reads plain strings and imports nothing. A path can replace a name:
``package.module:Class``, ``file.py:Class``, or ``file.yaml`` for a benchmark.

Whoever gives a path runs its code; for paths in files and records see `capsbench.trusted_code`.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Literal

import capsbench
from capsbench.errors import UserError, in_one_line, unknown

Kind = Literal["models", "datamodules", "measures", "benchmarks"]
SINGULAR: dict[Kind, str] = {
    "models": "model",
    "datamodules": "data module",
    "measures": "measure",
    "benchmarks": "benchmark",
}


FILE_MODULE = "capsbench_file_"  # start of the module names of files


@dataclass(frozen=True)
class Target:
    """The target of a name: an attribute of a module or of a source file, or a YAML file."""

    kind: Kind
    name: str
    module: str | None
    file: Path | None
    attribute: str

    @property
    def slug(self) -> str:
        """The name as a folder, the class alone where the name is a path."""
        return self.name if self.module is None or ":" not in self.name else self.attribute

    def source(self) -> Path:
        """Return the file that defines the target, without importing the module itself.

        Raises:
            UserError: There is no such module or file, or capsbench and one of its own modules
                come from two checkouts.
        """
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
        if self.module.startswith("capsbench."):
            _require_one_checkout(self.module, origin)
        return (
            _existing(origin.parent / self.attribute, self.name)
            if self.kind == "benchmarks"
            else origin
        )

    def summary(self) -> str:
        """Return the first line of the class's docstring, or a YAML's title, without importing."""
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
            UserError: There is no such module, or no such class in it; the module is not Python,
                fails to import another one, or exits; or see `source`.
        """
        self.source()  # a missing module is a UserError, most errors inside of it a traceback
        name = _file_module(self.file) if self.file else str(self.module)
        try:
            module = _import_file(self.file) if self.file else importlib.import_module(name)
        except SyntaxError as error:
            raise _not_python(error) from None
        except (ImportError, SystemExit) as error:
            if name.startswith("capsbench."):
                raise  # a bug of our own
            message = in_one_line(error, name)
            raise UserError(f"{SINGULAR[self.kind]} '{self.name}': {message}") from error
        cls = getattr(module, self.attribute, None)
        if cls is None:
            raise UserError(
                f"{SINGULAR[self.kind]} '{self.name}': no class '{self.attribute}' "
                f"in {self.file or self.module}"
            )
        return cls

    def load_subclass(self, base: type) -> Any:
        """Import the module and return the class, which must be a concrete subclass.

        Raises:
            UserError: See `load`; or the class is not a subclass of ``base``, or is abstract.
        """
        cls, subject = self.load(), f"{SINGULAR[self.kind]} '{self.name}'"
        if not (isinstance(cls, type) and issubclass(cls, base)):
            public = [part for part in base.__module__.split(".") if not part.startswith("_")]
            parent = ".".join([*public, base.__qualname__])
            raise UserError(f"{subject} is not a subclass of {parent}; derive the class from it")
        if inspect.isabstract(cls):
            missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
            raise UserError(f"{subject} is abstract; a subclass has to define {missing}")
        return cls

    def identity(self) -> str:
        """Return the name that enters a fingerprint; for a user's own file, class and content."""
        if self.file is None or self.kind == "benchmarks":
            return self.name
        return f"{self.attribute}@{sha256(self.file.read_bytes()).hexdigest()[:16]}"


def is_own_file(identity: str) -> bool:
    """Check that an identity is that of a class in a user's own file, see `Target.identity`.

    >>> is_own_file("Net@0123456789abcdef"), is_own_file("cnn-small")
    (True, False)
    """
    return "@" in identity


@cache
def table(kind: Kind) -> Mapping[str, Target]:
    """Return all registered names of a kind, sorted, from the metadata of installed packages.

    The metadata are read once: a package that is installed later is seen by the next process.
    """
    points = sorted(entry_points(group=f"capsbench.{kind}"), key=lambda point: point.name)
    targets = {p.name: Target(kind, p.name, p.module, None, p.attr) for p in points}
    return MappingProxyType(targets)  # shared by all callers


def find(kind: Kind, name: str) -> Target:
    """Resolve a name or a path.

    Args:
        kind: ``"models"``, ``"datamodules"``, ``"measures"`` or ``"benchmarks"``.
        name: A registered name, ``package.module:Class``, ``file.py:Class``, or ``file.yaml``.

    Raises:
        UserError: The name is not registered, or there is no file at the path.
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
        raise UserError(f"'{name}' names a file; append :Class, the name of the class in it")
    if name not in registered:
        raise unknown(SINGULAR[kind], name, registered, "capsbench list")
    return registered[name]


def license_of(kind: Kind, name: str) -> str | None:
    """Return the licence of the package that registers a name, as a lower-case SPDX identifier.

    None for a path, and where the package names no licence.
    """
    for point in entry_points(group=f"capsbench.{kind}", name=name):
        if point.dist is not None and "License-Expression" in point.dist.metadata:
            return point.dist.metadata["License-Expression"].lower()
    return None


def from_folder(folder: Path, name: str) -> str:
    """Return ``net.py:Net`` relative to a folder; leave every other name unchanged.

    >>> from_folder(Path("mine"), "net.py:Net"), from_folder(Path("mine"), "cnn-small")
    ('mine/net.py:Net', 'cnn-small')
    """
    place, _, attribute = name.rpartition(":")
    return f"{folder / place}:{attribute}" if place.endswith(".py") else name


def without_folder(name: str) -> str:
    """Return ``net.py:Net`` of a path without its folder; leave every other name unchanged.

    >>> without_folder("/home/me/net.py:Net"), without_folder("cnn-small")
    ('net.py:Net', 'cnn-small')
    """
    return Path(name).name


def imported_modules(file: str) -> list[ModuleType]:
    """Return the imported modules of files of a name, such as ``net.py``; one for each file."""
    modules = [module for name, module in [*sys.modules.items()] if Path(file).stem in name]
    files = {str(getattr(module, "__file__", None)): module for module in modules}
    return [module for path, module in files.items() if Path(path).name == file]


def _is_absolute(module: str) -> bool:
    return all(part.isidentifier() for part in module.split("."))


def _not_python(error: SyntaxError) -> UserError:
    return UserError(f"{error.filename}, line {error.lineno}: {error.msg}")


@cache
def _require_one_checkout(module: str, origin: Path) -> None:
    """Refuse a module of ours that lies outside the checkout, or wheel, of capsbench itself.

    A stale editable install, or a checkout whose links to the collections are missing, would mix
    the framework of one checkout with the models of another.
    """
    package = Path(str(capsbench.__file__)).resolve().parent
    folder = origin.resolve().parent
    if not folder.is_relative_to(package.parent):
        raise UserError(
            f"capsbench is imported from {package}, but {module} from {folder} of another "
            "checkout; run `pip install -e .` in the checkout that you mean to use"
        )


def _existing(path: Path, name: str) -> Path:
    try:
        exists = path.is_file()
    except OSError as error:  # such as a name that is too long
        raise UserError(f"cannot read '{name}': {error.strerror}") from None
    if not exists:
        raise UserError(f"no file '{path}' (from '{name}')")
    return path


def _file_module(path: Path) -> str:
    """Return the module name under which a file is imported."""
    return f"{FILE_MODULE}{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


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
