"""``capsbench measure``: measure a finished training in further ways, without training again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from capsbench.cli.options import (
    AsJson,
    DataRoot,
    beside_json,
    plain_console,
    print_json,
    require_folder,
)
from capsbench.errors import UserError

if TYPE_CHECKING:
    from capsbench.measures import MeasureEntry

Facts = dict[str, Any]


def measure(
    cell: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder of a training: runs/<data>/<model>/<seed>-…"),
    ],
    measures: Annotated[
        str,
        typer.Option(
            metavar="YAML",
            help="What to measure, as in a benchmark file: {measure: filters}, a list, or a file.",
        ),
    ],
    rule: Annotated[
        Literal["validation", "last"], typer.Option(help="Whose weights are measured.")
    ] = "validation",
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where a model of your own file is found.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where a data module of yours is found.")
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="LABEL=FOLDER",
            help="Another finished training that a measure looks at; may be repeated.",
        ),
    ] = None,
    data_root: DataRoot = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure a finished training in further ways.

    From its checkpoint: nothing is trained. The outcome is added to the training's records, where a
    benchmark that asks for it finds it.
    """
    require_folder(data_root)
    entries = parse_measures(measures)
    others = _folders(sources or [])
    with beside_json(as_json):
        from filelock import FileLock, Timeout
        from rich.console import Console

        from capsbench.records import CellFolder, read_json
        from capsbench.running.examples import require_asked
        from capsbench.running.finished import finished_cell
        from capsbench.running.measuring import measure_cell
        from capsbench.training.devices import resolve_device

        found = finished_cell(cell, entries, rule=rule, model=model, data=data, sources=others)
        require_asked(entries, found.build_data(data_root))
        try:
            with FileLock(found.path / ".lock", timeout=0):
                measure_cell(
                    found,
                    Path(),
                    data_root,
                    device=resolve_device(device),
                    routing="auto",
                    console=Console(stderr=True),
                )
        except Timeout:
            raise UserError(f"another process is at work in {cell}; wait for it") from None
        outcomes = [read_json(CellFolder(found.path).measure(name)) for name in found.measures]
    if as_json:
        print_json(outcomes)
        return
    for outcome in outcomes:
        _print(outcome)


def parse_measures(text: str) -> list[MeasureEntry]:
    """Measures from YAML, or from a file of it: one mapping, or a list of them.

    Raises:
        UserError: It is no YAML, or not what a measure takes.
    """
    import yaml
    from pydantic import TypeAdapter, ValidationError

    from capsbench.arguments import one_line
    from capsbench.measures import MeasureEntry

    try:
        content = Path(text).read_text("utf-8") if text.endswith((".yaml", ".yml")) else text
        given = yaml.safe_load(content)
    except OSError as error:
        raise UserError(f"--measures: cannot read {text}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError):  # YAML takes 2001-99-99 for a date
        raise UserError(
            f"--measures takes YAML, such as '{{measure: filters}}'; got {text}"
        ) from None
    if isinstance(given, dict) and "measures" in given:  # a benchmark file
        given = given["measures"]
    listed = given if isinstance(given, list) else [given]
    if not listed:
        raise UserError("--measures names no measure")
    adapter: TypeAdapter[list[MeasureEntry]] = TypeAdapter(list[MeasureEntry])
    try:
        return adapter.validate_python(listed)
    except ValidationError as error:
        raise UserError(f"--measures: {one_line(error)}") from None


def _folders(pairs: list[str]) -> dict[str, Path]:
    """The folders of --source by label."""
    split = [pair.partition("=") for pair in pairs]
    for pair, (label, _, folder) in zip(pairs, split, strict=True):
        if not (label and folder):
            raise UserError(
                f"--source takes LABEL=FOLDER, such as CNN=runs/digits/cnn-small/0-...; got {pair}"
            )
    return {label: Path(folder) for label, _, folder in split}


def _print(outcome: Facts) -> None:
    from rich.table import Table

    console = plain_console()
    console.print(f"{outcome['measure']} (n = {outcome['n']:,})", style="bold")
    rows = Table(box=None, pad_edge=False, show_header=False)
    rows.add_column()
    rows.add_column(justify="right")
    for key, value in outcome["values"].items():
        rows.add_row(key, f"{value:.4g}")
    console.print(rows)
    for note in outcome["notes"]:
        console.print(note)
