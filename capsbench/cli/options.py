"""Options, completion of names and printing that several commands share."""

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

KINDS: tuple[Kind, ...] = ("models", "datamodules", "benchmarks", "measures")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", metavar="DIR", help="Folder of data files.", show_default="data"),
]
Output = Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder of the records.")]


def complete_benchmark(incomplete: str) -> list[str]:
    """Complete the name of a benchmark."""
    return [name for name in table("benchmarks") if name.startswith(incomplete)]


def complete_any(incomplete: str) -> list[str]:
    """Complete the name of a model, data module, benchmark or measure."""
    return [name for kind in KINDS for name in table(kind) if name.startswith(incomplete)]


def complete_models(incomplete: str) -> list[str]:
    """Complete the last name of a comma-separated list of models."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in table("models") if name.startswith(last)]


def plain_console() -> Console:
    """Return a console that prints text without markup, so that ``[`` is a bracket."""
    from rich.console import Console

    return Console(markup=False, highlight=False)


def print_json(content: Any) -> None:
    """Print JSON; paths and dates become strings."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False, default=str))


def json_on_stdout(as_json: bool) -> AbstractContextManager[object]:
    """Keep stdout for JSON: the prints of a user's own code go to stderr."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


def require_folder(data_root: Path | None) -> None:
    """Refuse a data root that does not exist; a mistyped one would start a download.

    Raises:
        UserError: There is no such folder.
    """
    try:
        exists = data_root is None or data_root.is_dir()
    except OSError as error:
        raise UserError(f"--data-root '{data_root}': {error.strerror}") from None
    if not exists:
        raise UserError(f"--data-root: no folder '{data_root}'")


def require_writable(output: Path) -> None:
    """Check that a folder is writable, before hours of work; leaves no trace.

    Args:
        output: A folder, which need not exist yet.

    Raises:
        UserError: A file has that name, or the system refuses to write.
    """
    try:
        nearest = next(path for path in (output, *output.parents) if _exists(path))
        if nearest.is_file():
            raise NotADirectoryError(errno.ENOTDIR, f"'{nearest}' is a file")
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise UserError(f"cannot write in '{output}': {error.strerror}") from None


def _exists(path: Path) -> bool:
    """Check that a path exists; unlike `Path.exists` in some versions, never hide other errors."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
