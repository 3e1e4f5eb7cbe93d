"""Options, completion of names and printing that several commands share."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from capsbench.environment.streams import print_line
from capsbench.names import Kind, table

if TYPE_CHECKING:
    from rich.console import Console

NOTHING_MEASURED = 1  # exit code
KINDS: tuple[Kind, ...] = ("models", "datamodules", "benchmarks", "measures")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", metavar="DIR", help="Folder of data files.", show_default="data"),
]
ModelDevice = Annotated[
    Literal["auto", "cpu", "cuda", "mps"], typer.Option("--device", help="Device of the model.")
]
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="LABEL=FOLDER",
        help="Another trained network that a measure uses; may be repeated.",
    ),
]
TrustCode = Annotated[
    bool,
    typer.Option("--trust-code", help="Also run code that files or records name elsewhere."),
]
Output = Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder of the records.")]


def complete_benchmark(incomplete: str) -> list[str]:
    """Complete the name of a benchmark."""
    return [name for name in table("benchmarks") if name.startswith(incomplete)]


def complete_any(incomplete: str) -> list[str]:
    """Complete the name of a model, data module, benchmark or measure."""
    return [name for kind in KINDS for name in table(kind) if name.startswith(incomplete)]


def complete_models(incomplete: str) -> list[str]:
    """Complete the last name of a comma-separated list of models, also after a ``+``."""
    name = incomplete.rpartition(",")[2].removeprefix("+")
    start = incomplete.removesuffix(name)
    return [start + each for each in table("models") if each.startswith(name)]


def plain_console() -> Console:
    """Return a console that prints text without markup, so that ``[`` is a bracket."""
    from rich.console import Console

    return Console(markup=False, highlight=False)


def print_json(content: Any) -> None:
    """Print JSON in ASCII, the same in every locale; paths and dates become strings."""
    print_line(json.dumps(content, indent=2, default=str))


def json_on_stdout(as_json: bool) -> AbstractContextManager[object]:
    """Keep stdout for JSON: the prints of a user's own code go to stderr."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()
