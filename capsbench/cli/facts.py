"""What a model, a data module or a benchmark is, as facts that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsbench.errors import UserError, in_one_line
from capsbench.names import SINGULAR, Target

if TYPE_CHECKING:
    from capsbench.contracts import Model
    from capsbench.data.images import ImageDataModule

Facts = dict[str, Any]

# Arguments of every model that have an option of their own.
OPTIONS = {"image_shape": "--image-shape", "num_classes": "--classes"}


def model_with_arguments(
    target: Target, settings: list[str]
) -> tuple[type[Model], Mapping[str, Any]]:
    """A model's class, and its other arguments than image shape and classes.

    Args:
        target: The model.
        settings: Arguments as ``NAME=VALUE``.
    """
    from capsbench.arguments import resolve
    from capsbench.contracts import Model
    from capsbench.schema import parse_changes

    cls, given, what = (
        target.load_subclass(Model),
        parse_changes(settings),
        f"model '{target.name}'",
    )
    for name in given:
        if name in OPTIONS:
            raise UserError(f"{what}: {name} is not set by --set; give {OPTIONS[name]}")
    return cls, resolve(cls, given, what=what, supplied=tuple(OPTIONS))


def model_facts(
    target: Target,
    image_shape: tuple[int, int, int],
    classes: int,
    settings: list[str],
    batch: int,
) -> Facts:
    """What a model is, its layers, and what it costs for these images.

    Args:
        target: The model.
        image_shape: (C, H, W) of the images.
        classes: Number of classes.
        settings: Arguments as ``NAME=VALUE``.
        batch: Images whose votes are counted.
    """
    from capsbench.profiling.model_cost import cost

    cls, arguments = model_with_arguments(target, settings)
    try:
        found = cost(cls(image_shape=image_shape, num_classes=classes, **arguments).eval())
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        what = f"model '{target.name}' for images of {'x'.join(map(str, image_shape))}"
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            raise UserError(f"{what} takes more memory than there is") from error
        if cls.__module__.startswith("capsbench."):
            raise  # a bug of our own
        raise UserError(f"{what}: {in_one_line(error, cls.__module__)}") from error
    facts = {
        **_class_facts(target, cls),
        "image_shape": image_shape,
        "classes": classes,
        "parameters": found.parameters,
    }
    if found.decoder_parameters is not None:
        facts["parameters_without_decoder"] = found.parameters - found.decoder_parameters
    votes = found.vote_bytes(batch)
    return {
        **facts,
        "flops": found.flops,
        "batch": batch,
        "vote_bytes": sum(votes.values()),
        "vote_bytes_by_layer": votes,
        "layers": [asdict(layer) for layer in found.layers],
    }


def data_facts(target: Target, data_root: Path) -> Facts:
    """What a data module is, and whether its files are at hand."""
    from capsbench.arguments import parameters
    from capsbench.data.images import ImageDataModule

    cls = target.load_subclass(ImageDataModule)
    facts = _class_facts(target, cls)
    if all(p.default is not p.empty for p in parameters(cls).values()):
        data = cls(data_root=data_root)
        facts |= {"image_shape": data.image_shape, "classes": data.num_classes}
    recorded = {"recorded_views": ", ".join(cls.factors)} if cls.factors else {}
    return {**facts, **recorded, "data": cls.availability(data_root)}


def benchmark_facts(target: Target) -> Facts:
    """The whole protocol of a benchmark, its defaults filled in; or claims with their tests."""
    from capsbench.schema import is_claims, load_benchmark, load_claims

    found = load_claims(target.name) if is_claims(target.name) else load_benchmark(target.name)
    protocol = found.model_dump(mode="json", exclude_none=True)
    title = protocol.pop("title")
    return {
        "name": protocol.pop("name"),
        "kind": SINGULAR["benchmarks"],
        "summary": title,
        "file": str(target.source()),
        **protocol,
    }


def _class_facts(target: Target, cls: type[Model] | type[ImageDataModule]) -> Facts:
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
