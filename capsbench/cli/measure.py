"""``capsbench measure``: compute further measures of a finished training, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from capsbench.cli.options import (
    NOTHING_MEASURED,
    AsJson,
    DataRoot,
    ModelDevice,
    Sources,
    TrustCode,
    json_on_stdout,
    plain_console,
    print_json,
)
from capsbench.errors import UserError
from capsbench.files.folders import require_folder
from capsbench.trusted_code import require_trusted, trust, trusting_code

if TYPE_CHECKING:
    from capsbench.measures import MeasureConfig
    from capsbench.records import MeasureRecord


def measure(
    cell: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder of a training: runs/<data>/<model>/<seed>-…"),
    ],
    measures: Annotated[
        str,
        typer.Option(
            metavar="YAML",
            help="Measures as in a benchmark file: {measure: filters}, a list, or a file.",
        ),
    ],
    rule: Annotated[
        Literal["validation", "last"], typer.Option(help="Checkpoint to evaluate.")
    ] = "validation",
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Model in a file of yours.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="NAME", help="Data module in a file of yours.")
    ] = None,
    sources: Sources = None,
    data_root: DataRoot = None,
    device: ModelDevice = "auto",
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Compute further measures of a finished training.

    The measures use its checkpoint; nothing is trained. The results are added to the training's
    records, where a benchmark with the same measure finds them. A measure without a value is not
    recorded, and is tried again next time. The exit code is 1 if nothing was measured.
    """
    require_folder(data_root)
    source_folders = parse_sources(sources or [])
    with json_on_stdout(as_json), trusting_code(trust_code):
        configs = parse_measures(measures)
        from rich.console import Console

        from capsbench.records.cell_files import load_measure
        from capsbench.running.examples import require_images
        from capsbench.running.finished_cell import load_finished_cell
        from capsbench.running.leftovers import clear_cell
        from capsbench.running.measure_job import measure_cell
        from capsbench.running.resolve_layers import resolve_layers
        from capsbench.running.session import Session
        from capsbench.training.execution import Execution

        trained = load_finished_cell(
            cell, configs, rule=rule, model=model, data=data, sources=source_folders
        )
        resolve_layers(configs, {trained.label: trained.build_model()})  # refuses unknown ones
        require_images(configs, trained.build_data(data_root))
        execution = Execution(device=device, wandb="off")
        session = Session(Path(), data_root, execution, Console(stderr=True)).ready()
        folder = session.folder(trained)
        clear_cell(folder)
        not_written = measure_cell(
            trained,
            session,
            keep_empty=False,
            on_wait=lambda holder: session.print(f"waiting for {holder}"),
        )
        records = [
            not_written[name] if name in not_written else load_measure(folder, name)
            for name in trained.measures
        ]
    if as_json:
        print_json([record.model_dump(mode="json") for record in records])
    else:
        for record in records:
            _print(record, _own_arguments(record, records))
    if not any(record.values for record in records):
        raise typer.Exit(NOTHING_MEASURED)


def parse_measures(text: str) -> list[MeasureConfig]:
    """Read measures from YAML or a YAML file: one mapping, or a list of them.

    Raises:
        UserError: It is not YAML, or does not fit a measure.
    """
    from capsbench.files.yaml import parse_yaml, read_yaml
    from capsbench.measures import parse_config
    from capsbench.schema.code import names_of_code, relative_to

    file = Path(text) if text.endswith((".yaml", ".yml")) else None
    try:
        given = parse_yaml(text) if file is None else read_yaml(file)
    except UserError as error:
        raise UserError(f"--measures: {error}") from None
    except ValueError as error:
        raise UserError(
            f"--measures takes YAML, such as '{{measure: filters}}'; got {text}: {error}"
        ) from None
    if isinstance(given, dict) and "measures" in given:  # a benchmark file
        given = given["measures"]
    listed = given if isinstance(given, list) else [given]
    if not listed:
        raise UserError("--measures names no measure")
    try:
        content = {"measures": listed}
        if file is not None:
            content = relative_to(file.parent, content)
        for kind, name in names_of_code(content):
            if file is None:
                trust(name)
            else:
                require_trusted(kind, name, file.parent)
        return [parse_config(each) for each in content["measures"]]
    except (UserError, ValueError) as error:
        raise UserError(f"--measures: {error}") from None


def parse_sources(pairs: list[str]) -> dict[str, Path]:
    """Return the folders of --source by label.

    Raises:
        UserError: One is not of the form LABEL=FOLDER, or a label is given twice.
    """
    folders: dict[str, Path] = {}
    for pair in pairs:
        label, _, folder = pair.partition("=")
        if not (label and folder):
            raise UserError(
                f"--source takes LABEL=FOLDER, such as CNN=runs/digits/cnn-small/0-...; got {pair}"
            )
        if label in folders:
            raise UserError(f"--source {label} was given already; keep one of them")
        folders[label] = Path(folder)
    return folders


def _own_arguments(record: MeasureRecord, records: list[MeasureRecord]) -> str:
    """Return the arguments that tell a record from others of the same measure, as YAML."""
    from capsbench.files.yaml import write_yaml

    same = [other for other in records if other.measure == record.measure]
    own = {
        name: value
        for name, value in record.model_dump(mode="json")["arguments"].items()
        if any(other.model_dump(mode="json")["arguments"][name] != value for other in same)
    }
    return write_yaml(own) if own else ""


def _print(record: MeasureRecord, arguments: str) -> None:
    from rich.table import Table

    console = plain_console()
    heading = f"{record.measure} {arguments}".strip()
    console.print(heading, style="bold")
    rows = Table(box=None, pad_edge=False, show_header=False)
    rows.add_column()
    rows.add_column(justify="right")
    rows.add_column(justify="right")
    for value in record.values:
        if value.is_untrained:
            continue
        images = f"n = {value.n:,}" if value.n else ""
        rows.add_row(value.name, f"{value.value:.4g}", images)
        if (before := record.get(value.of_untrained())) is not None:
            rows.add_row("  before training", f"{before:.4g}")
    console.print(rows)
    for note in record.notes:
        console.print(note)
