"""``capsbench show``: the description of a model, data module, benchmark or measure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capsbench.cli.facts import Facts, benchmark_facts, data_facts, measure_facts, model_facts
from capsbench.cli.options import (
    KINDS,
    AsJson,
    DataRoot,
    TrustCode,
    complete_any,
    json_on_stdout,
    plain_console,
    print_json,
)
from capsbench.errors import UserError, unknown
from capsbench.files.folders import require_folder
from capsbench.names import SINGULAR, Kind, Target, find, table
from capsbench.trusted_code import trust, trusting_code

if TYPE_CHECKING:
    from rich.table import Table

# Facts that are part of the costs in words, without a line of their own.
COST_DETAILS = (
    "parameters_without_decoder",
    "batch",
    "vote_bytes",
    "vote_bytes_by_layer",
    "seconds",
)
# Facts in the heading, or in a table of their own.
OWN_TABLES = (
    "name",
    "kind",
    "summary",
    "layers",
    "transformations",
    "arguments",
    "metrics",
    *COST_DETAILS,
)


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A name from `capsbench list`, or file.py:Class, package.module:Class, file.yaml.",
            autocompletion=complete_any,
        ),
    ],
    image_shape: Annotated[
        str, typer.Option(metavar="CxHxW", help="Image shape of a model.")
    ] = "1x28x28",
    classes: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of classes of a model.")
    ] = 10,
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="Images in a batch, for the size of all votes.")
    ] = 128,
    timed: Annotated[
        bool,
        typer.Option("--time", help="Time a batch of a model on one thread of the processor."),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="ARGUMENT=VALUE", help="Argument of a model; may be repeated."
        ),
    ] = None,
    data_root: DataRoot = None,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Show a model, data module, benchmark or measure.

    Prints source and arguments; a model's layers, parameters and cost for given images, and how it
    declares that layers transform with the image; a benchmark's protocol; a measure's definition
    and the values that it returns.
    """
    require_folder(data_root)
    shape = parse_image_shape(image_shape)
    with json_on_stdout(as_json), trusting_code(trust_code):
        target = resolve_name(name)
        if timed and target.kind != "models":
            raise UserError(f"--time times a model; '{name}' is a {SINGULAR[target.kind]}")
        if target.kind == "benchmarks":
            facts = benchmark_facts(target)
        elif target.kind == "models":
            facts = model_facts(target, shape, classes, settings or [], batch, timed)
        elif target.kind == "measures":
            facts = measure_facts(target)
        else:
            facts = data_facts(target, data_root or Path("data"))
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def parse_image_shape(text: str) -> tuple[int, int, int]:
    """Read an image shape.

    >>> parse_image_shape("1x28x28")
    (1, 28, 28)
    """
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise UserError(f"--image-shape takes CxHxW such as 1x28x28; got '{text}'")
    channels, height, width = map(int, match.groups())
    return channels, height, width


def resolve_name(name: str) -> Target:
    """Resolve a name of any kind, or a path, whose class decides the kind."""
    if name.endswith((".yaml", ".yml")):
        return find("benchmarks", name)
    if ":" in name:
        return _resolve_path(name)
    if name.endswith(".py"):
        return find("models", name)
    known: dict[str, Kind] = {known: kind for kind in reversed(KINDS) for known in table(kind)}
    if name not in known:
        raise unknown("name", name, known)
    return find(known[name], name)


def _resolve_path(path: str) -> Target:
    from capsbench.data.images import ImageDataModule
    from capsbench.measures import Measure
    from capsbench.wrapping.built_model import TIMM, builds_network

    target = find("models", path)
    if target.module == TIMM:
        return target
    loaded = target.load()
    if builds_network(loaded):
        return target
    if isinstance(loaded, type) and issubclass(loaded, ImageDataModule):
        return find("datamodules", path)
    if isinstance(loaded, type) and issubclass(loaded, Measure):
        trust(path)  # since the user gives it
        return find("measures", path)
    raise UserError(
        f"'{path}' is no model (subclass of torch.nn.Module, or a function that returns one), data "
        "module (of capsbench.data.images.ImageDataModule) or measure (of "
        "capsbench.measures.Measure)"
    )


def _print(facts: Facts) -> None:
    from rich.table import Table

    console = plain_console()
    summary = f": {facts['summary']}" if facts["summary"] else ""
    console.print(f"{facts['name']} ({facts['kind']}){summary}", style="bold")
    rows = facts | _costs(facts) if facts["kind"] == "model" else facts
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    for key, value in rows.items():
        if key not in OWN_TABLES and value != "":
            table.add_row(key.replace("_", " "), _as_text(value))
    console.print(table)
    if "layers" in facts:
        console.print()
        console.print(_layers(facts["layers"]))
    if facts.get("transformations"):
        headings = ("declared", "", "by construction", "claimed")
        declared = Table(*headings, box=None, pad_edge=False)
        for each in facts["transformations"]:
            declared.add_row(*(each[key] for key in list(each)[: len(headings)]))
        console.print()
        console.print(declared)
    if "arguments" in facts:
        arguments = Table("argument", "type", "default", "", box=None, pad_edge=False)
        for argument in facts["arguments"]:
            default = "required" if argument["required"] else repr(argument["default"])
            arguments.add_row(
                argument["name"], argument["type"], default, argument["documentation"]
            )
        console.print()
        console.print(arguments)
    if "metrics" in facts:
        metrics = Table("metric", "unit", "", box=None, pad_edge=False)
        for metric in facts["metrics"]:
            metrics.add_row(metric["name"], metric["unit"], metric["documentation"])
        console.print()
        console.print(metrics)


def _costs(facts: Facts) -> dict[str, str]:
    """Return the cost of a model in words."""
    from rich.filesize import decimal

    parameters = f"{facts['parameters']:,}"
    if "parameters_without_decoder" in facts:
        parameters += f" ({facts['parameters_without_decoder']:,} without the decoder)"
    votes = "none, since no capsules are routed"
    if by_layer := facts["vote_bytes_by_layer"]:
        largest = max(by_layer, key=by_layer.__getitem__)
        others = f" ({largest} alone {decimal(by_layer[largest])})" if len(by_layer) > 1 else ""
        votes = (
            f"{decimal(facts['vote_bytes'])} in float32 for a batch of {facts['batch']:,}{others}; "
            f"the backend 'textbook' stores them all, the others a slice of them at a time, or none"
        )
    times = {
        f"time, {each['backend']}": (
            f"{1000 * each['forward']:,.1f} ms forward, {1000 * each['training']:,.1f} ms forward "
            f"and backward for a batch of {facts['batch']:,}, on one thread"
        )
        for each in facts.get("seconds", ())
    }
    return {
        **times,
        "parameters": parameters,
        "flops": (
            f"{facts['flops']:,} for one image; convolutions and matrix products alone, "
            f"2 for each multiply-add"
        ),
        "votes": votes,
    }


def _layers(layers: Sequence[Facts]) -> Table:
    """Return a model's modules as a tree: output shapes for one image, parameters, FLOPs."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("layer", no_wrap=True)
    table.add_column("output")
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("FLOPs", justify="right", no_wrap=True)
    for layer in layers:
        *above, own = layer["name"].split(".")
        indent = "  " * (len(above) + 1) if own else ""
        table.add_row(
            f"{indent}{own} {layer['type']}" if own else layer["type"],
            ", ".join("x".join(map(str, shape)) for shape in layer["outputs"]),
            f"{layer['parameters']:,}" if layer["parameters"] else "",
            f"{layer['flops']:,}" if layer["flops"] else "",
        )
    return table


def _as_text(value: Any) -> str:
    """Return a value as YAML on one line, or one line per item of a list of mappings."""
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return "\n".join(map(_as_text, value))
    if isinstance(value, (dict, list, tuple)):
        from capsbench.files.yaml import write_yaml

        return write_yaml(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
