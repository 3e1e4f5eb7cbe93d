"""``capsbench data``: the contents of a data set's splits, in numbers and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from capsbench.cli.options import (
    AsJson,
    DataRoot,
    Output,
    TrustCode,
    json_on_stdout,
    plain_console,
    print_json,
)
from capsbench.errors import UserError, unknown
from capsbench.files.folders import require_folder, require_writable
from capsbench.names import find, table
from capsbench.trusted_code import trusting_code

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.table import Table

    from capsbench.data.images import ImageDataModule
    from capsbench.viewpoint.ranges import ViewRange

Facts = dict[str, Any]
Schema = TypeVar("Schema", bound="BaseModel")


def complete_data(incomplete: str) -> list[str]:
    """Complete the name of a data module or benchmark."""
    names = [*table("datamodules"), *table("benchmarks")]
    return [name for name in names if name.startswith(incomplete)]


def data(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A data module, or a benchmark for its data with its views.",
            autocompletion=complete_data,
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="ARGUMENT=VALUE", help="Argument of the data module; may be repeated."
        ),
    ] = None,
    views: Annotated[
        list[str] | None,
        typer.Option(
            "--view",
            metavar="FACTOR=RANGE",
            help="Views of training: rotation=[-30,30], azimuth={values: [0, 20]}; may be "
            "repeated.",
        ),
    ] = None,
    augmentation: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Operations of kornia on training images: [RandomErasing, RandAugment].",
        ),
    ] = None,
    per_class: Annotated[
        float | None,
        typer.Option(metavar="N", help="Images of each class to train on; below 1 a share."),
    ] = None,
    data_root: DataRoot = None,
    output: Output = Path("runs"),
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Show the splits of a data set, and draw some images of each.

    Prints images, classes, views and checksum of each split, and of a benchmark's ranges of test
    views; and which test images and objects are in training, too. Writes a contact sheet (PNG) of
    each to DIR/<data>/contact-sheets; those of your own images are in a folder named by the
    checksum. The sheet of training images shows the augmentation. Missing data is downloaded or
    generated first.
    """
    require_folder(data_root)
    require_writable(output)
    with json_on_stdout(as_json), trusting_code(trust_code):
        from capsbench.data.description import describe_splits
        from capsbench.data.overlap import measure_overlap
        from capsbench.reporting.figures.contact_sheet import contact_sheet
        from capsbench.schema import parse_changes

        operations = [] if augmentation is None else [f"recipe.augmentation={augmentation}"]
        changes = parse_changes(operations, "--augmentation")
        data_module, data_name, ranges = _build(
            name, settings or [], views or [], changes, per_class, data_root
        )
        data_module.require_augmentation(data_module.augmentation)
        splits = describe_splits(data_module, ranges)
        overlap = measure_overlap(data_module)
        folder = output / data_name / "contact-sheets"
        if data_module.own_name:  # there may be several sets of this name
            folder /= data_module.identity.checksum.rpartition(":")[2][:12]
        folder.mkdir(parents=True, exist_ok=True)
        for split in splits:
            sheet = folder / f"{split.name}.png"
            title = f"{data_module.identity.name}: {split.name}, {split.images:,} images"
            if split.name == "train" and data_module.augmentation:
                title += ", augmented"
            sheet.write_bytes(contact_sheet(split.examples, title))
    facts = {
        "name": data_module.identity.name,
        "version": data_module.identity.version,
        "checksum": data_module.identity.checksum,
        "image_shape": list(data_module.image_shape),
        "classes": list(data_module.class_names),
        "views": data_module.views.model_dump(mode="json", exclude_none=True),
        "augmentation": [each.model_dump() for each in data_module.augmentation],
        "notes": data_module.notes,
        "overlap": overlap.model_dump(),
        "splits": {
            split.name: {**split.facts(), "contact_sheet": str(folder / f"{split.name}.png")}
            for split in splits
        },
    }
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _build(
    name: str,
    settings: list[str],
    views: list[str],
    changes: Facts,
    per_class: float | None,
    data_root: Path | None,
) -> tuple[ImageDataModule, str, Mapping[str, ViewRange]]:
    """Return the data module, the name of its folder, and a benchmark's ranges of test views.

    Args:
        name: Name of a data module or of a benchmark.
        settings: Values of ``--set``.
        views: Values of ``--view``.
        changes: The augmentation by its place in a benchmark, or nothing.
        per_class: Images of each class.
        data_root: Folder of data files.
    """
    from capsbench.measures.accuracy_by_split import AccuracyBySplitConfig
    from capsbench.running.cell import build_data, data_folder
    from capsbench.schema import DataEntry, load_benchmark, parse_changes
    from capsbench.training.recipe import ProtocolRecipe

    arguments, ranges = parse_changes(settings), parse_changes(views, "--view")
    if name not in table("benchmarks") and not name.endswith((".yaml", ".yml")):
        entry = checked(
            DataEntry, {"name": name, "arguments": arguments, "per_class": per_class}, "--per-class"
        )
        recipe = {"steps": 1, "augmentation": changes.get("recipe.augmentation", [])}
        operations = checked(ProtocolRecipe, recipe, "--augmentation").augmentation
        data_module, _ = build_data(entry, parse_range(ranges), data_root, augmentation=operations)
        return data_module, data_folder(find("datamodules", name), data_module), {}
    changes |= {f"data.arguments.{key}": value for key, value in arguments.items()}
    changes |= {f"views.{key}": value for key, value in ranges.items()}
    if per_class is not None:
        changes["data.per_class"] = per_class
    benchmark = load_benchmark(name, changes)
    operations = benchmark.recipe.augmentation
    data_module, _ = build_data(benchmark.data, benchmark.views, data_root, augmentation=operations)
    entries = [entry for entry in benchmark.measures if isinstance(entry, AccuracyBySplitConfig)]
    test_ranges = entries[0].ranges if entries else {}
    folder = data_folder(find("datamodules", benchmark.data.name), data_module)
    return data_module, folder, test_ranges


def parse_range(ranges: Facts) -> ViewRange:
    """Build a `ViewRange` from the values of ``--view``.

    Raises:
        UserError: A factor is unknown, or a value does not fit.
    """
    from capsbench.viewpoint.ranges import ViewRange

    for name in ranges:
        if name not in ViewRange.model_fields:
            raise unknown("factor of --view:", name, ViewRange.model_fields)
    return checked(ViewRange, ranges, "--view")


def checked(schema: type[Schema], content: Facts, option: str) -> Schema:
    """Check the values of an option by a schema.

    Raises:
        UserError: They do not fit.
    """
    from pydantic import ValidationError

    from capsbench.arguments import explain

    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{option}: {explain(error, schema)}") from None


def _print(facts: Facts) -> None:
    from capsbench.data.augmentation import AugmentationOperation
    from capsbench.data.overlap import Overlap
    from capsbench.reporting.overlap import overlap_sentences

    console = plain_console()
    channels, height, width = facts["image_shape"]
    console.print(f"{facts['name']}, version {facts['version']}", style="bold")
    lines = _table()
    lines.add_row("images", f"{height} x {width} pixels, channels: {channels}")
    lines.add_row("classes", f"{len(facts['classes'])}: {', '.join(facts['classes'])}")
    lines.add_row("checksum", facts["checksum"])
    if facts["augmentation"]:
        operations = map(AugmentationOperation, facts["augmentation"])
        lines.add_row("augmentation", f"training images: {', '.join(map(str, operations))}")
    lines.add_row("test", overlap_sentences([Overlap(**facts["overlap"])]))
    for note in facts["notes"]:
        lines.add_row("note", note)
    console.print(lines)
    for name, split in facts["splits"].items():
        console.print()
        console.print(f"{name}: {split['images']:,} images", style="bold")
        rows = _table()
        fewest, most = split["per_class"]
        rows.add_row("of each class", str(most) if fewest == most else f"{fewest} to {most}")
        for factor, values in split["views"].items():
            rows.add_row(factor, values)
        rows.add_row("sha256", split["sha256"])
        rows.add_row("contact sheet", split["contact_sheet"])
        console.print(rows)


def _table() -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table
