"""What several commands share: options, completion of names, and the two ways of printing."""

from __future__ import annotations

import errno
import json
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capsbench.errors import UserError
from capsbench.names import Kind, table

if TYPE_CHECKING:
    from rich.console import Console

KINDS: tuple[Kind, ...] = ("models", "datamodules", "benchmarks")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", metavar="DIR", help="Folder of data files.", show_default="data"),
]
Output = Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder of the records.")]


def complete_benchmark(incomplete: str) -> list[str]:
    """The benchmarks whose names begin so, for the shell."""
    return [name for name in table("benchmarks") if name.startswith(incomplete)]


def complete_any(incomplete: str) -> list[str]:
    """The models, data modules and benchmarks whose names begin so, for the shell."""
    return [name for kind in KINDS for name in table(kind) if name.startswith(incomplete)]


def complete_models(incomplete: str) -> list[str]:
    """The models whose names begin like the last part of a list with commas, for the shell."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in table("models") if name.startswith(last)]


def plain_console() -> Console:
    """A console that takes text as it is: ``[`` in a type or a path is no markup."""
    from rich.console import Console

    return Console(markup=False, highlight=False)


def print_json(content: Any) -> None:
    """Print facts for programs; paths and dates become strings."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False, default=str))


def beside_json(as_json: bool) -> AbstractContextManager[object]:
    """Where JSON goes to stdout, what a model's own code prints goes to stderr."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


def require_folder(data_root: Path | None) -> None:
    """Refuse a data root that is named but not there.

    Raises:
        UserError: There is no such folder; a mistyped one would start a download instead.
    """
    try:
        found = data_root is None or data_root.is_dir()
    except OSError as error:
        raise UserError(f"--data-root '{data_root}': {error.strerror}") from None
    if not found:
        raise UserError(f"--data-root: no folder '{data_root}'")


def require_writable(output: Path) -> None:
    """Refuse a folder in which nothing can be written, before hours are spent; leaves no trace.

    Args:
        output: A folder, which need not exist yet.

    Raises:
        UserError: A file is in the way, or the system does not let us write.
    """
    try:
        nearest = next(path for path in (output, *output.parents) if _is_there(path))
        if nearest.is_file():
            raise NotADirectoryError(errno.ENOTDIR, f"'{nearest}' is a file")
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise UserError(f"cannot write in '{output}': {error.strerror}") from None


def _is_there(path: Path) -> bool:
    """Whether a path exists; unlike `Path.exists` in some versions, never hides other errors."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
