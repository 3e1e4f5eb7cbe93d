"""``capsbench show``: what a model, a data module or a benchmark is."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capsbench.cli.options import (
    KINDS,
    AsJson,
    DataRoot,
    complete_any,
    plain_console,
    print_json,
)
from capsbench.errors import UserError, unknown
from capsbench.names import SINGULAR, Kind, Target, find, table

if TYPE_CHECKING:
    from capsbench.contracts import Model
    from capsbench.data.images import ImageData

Facts = dict[str, Any]


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
        str, typer.Option(metavar="CxHxW", help="Images for which a model is built.")
    ] = "1x28x28",
    classes: Annotated[int, typer.Option(min=1, help="Classes for which a model is built.")] = 10,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="ARGUMENT=VALUE", help="An argument of a model."),
    ] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Say what a model, data module or benchmark is.

    Its source and arguments; a model's number of parameters for given images; a benchmark's
    protocol.
    """
    shape = parse_image_shape(image_shape)
    target = resolve_name(name)
    if target.kind == "benchmarks":
        facts = benchmark_facts(target)
    elif target.kind == "models":
        facts = model_facts(target, shape, classes, settings or [])
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
    """Find a name among all kinds, or follow a path; a class says itself of which kind it is."""
    if name.endswith((".yaml", ".yml")):
        return find("benchmarks", name)
    if ":" in name:
        return _of_its_kind(name)
    if name.endswith(".py"):
        return find("models", name)
    known: dict[str, Kind] = {known: kind for kind in reversed(KINDS) for known in table(kind)}
    if name not in known:
        raise unknown("name", name, known)
    return find(known[name], name)


def _of_its_kind(path: str) -> Target:
    from capsbench.contracts import Model
    from capsbench.data.images import ImageData

    target = find("models", path)
    cls = target.load()
    if isinstance(cls, type) and issubclass(cls, Model):
        return target
    if isinstance(cls, type) and issubclass(cls, ImageData):
        return find("datamodules", path)
    raise UserError(
        f"'{path}' is neither a model (a subclass of capsbench.contracts.Model) nor a data module "
        f"(of capsbench.data.images.ImageData)"
    )


def model_facts(
    target: Target, image_shape: tuple[int, int, int], classes: int, settings: list[str]
) -> Facts:
    """What a model is, with the exact number of its parameters for these images."""
    from capsbench.arguments import resolve
    from capsbench.contracts import Model
    from capsbench.schema import parse_changes

    cls = target.load_subclass(Model)
    arguments = resolve(
        cls,
        parse_changes(settings),
        what=f"model '{target.name}'",
        supplied=("image_shape", "num_classes"),
    )
    model = cls(image_shape=image_shape, num_classes=classes, **arguments)
    return {
        **_class_facts(target, cls),
        "image_shape": image_shape,
        "classes": classes,
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }


def data_facts(target: Target, data_root: Path) -> Facts:
    """What a data module is, and whether its files are at hand."""
    from capsbench.data.images import ImageData

    cls = target.load_subclass(ImageData)
    return {
        **_class_facts(target, cls),
        "image_shape": cls.image_shape,
        "classes": cls.num_classes,
        "data": cls.found(data_root),
    }


def benchmark_facts(target: Target) -> Facts:
    """The whole protocol of a benchmark, its defaults filled in."""
    from capsbench.schema import load_benchmark

    protocol = load_benchmark(target.name).model_dump(mode="json", exclude_none=True)
    title = protocol.pop("title")
    return {
        "name": protocol.pop("name"),
        "kind": SINGULAR["benchmarks"],
        "summary": title,
        "file": str(target.source()),
        **protocol,
    }


def _class_facts(target: Target, cls: type[Model] | type[ImageData]) -> Facts:
    from capsbench.cli.docstrings import describe, describe_arguments

    summary, paragraphs = describe(cls)
    return {
        "name": target.name,
        "kind": SINGULAR[target.kind],
        "summary": summary,
        "description": "\n\n".join(paragraphs),
        "source": cls.source,
        "file": str(target.source()),
        "arguments": describe_arguments(cls),
    }


def _print(facts: Facts) -> None:
    from rich.table import Table

    console = plain_console()
    console.print(f"{facts['name']} ({facts['kind']}): {facts['summary']}", style="bold")
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    for key, value in facts.items():
        if key not in ("name", "kind", "summary", "arguments"):
            table.add_row(key.replace("_", " "), _in_words(value))
    console.print(table)
    if "arguments" in facts:
        arguments = Table("argument", "type", "default", "", box=None, pad_edge=False)
        for argument in facts["arguments"]:
            default = "required" if argument["required"] else repr(argument["default"])
            arguments.add_row(
                argument["name"], argument["type"], default, argument["documentation"]
            )
        console.print(arguments)


def _in_words(value: Any) -> str:
    """A value as YAML on one line, or one line per item of a list of mappings."""
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return "\n".join(map(_in_words, value))
    if isinstance(value, (dict, list, tuple)):
        import yaml

        text: str = yaml.safe_dump(
            value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
        )
        return text.strip()
    return f"{value:,}" if isinstance(value, int) else str(value)
