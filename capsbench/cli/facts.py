"""What a model, a data module or a benchmark is, as facts that JSON can hold."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsbench.names import SINGULAR, Target

if TYPE_CHECKING:
    from capsbench.contracts import Model
    from capsbench.data.images import ImageData

Facts = dict[str, Any]


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
    from capsbench.arguments import resolve
    from capsbench.contracts import Model
    from capsbench.measures.cost import cost
    from capsbench.schema import parse_changes

    cls = target.load_subclass(Model)
    arguments = resolve(
        cls,
        parse_changes(settings),
        what=f"model '{target.name}'",
        supplied=("image_shape", "num_classes"),
    )
    model = cls(image_shape=image_shape, num_classes=classes, **arguments)
    found = cost(model.eval())
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
