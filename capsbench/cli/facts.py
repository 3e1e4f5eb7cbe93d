"""Facts about a model, data module, benchmark or measure, as plain JSON."""

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
    """Return a model's class, and its arguments without image shape and classes.

    Args:
        target: The model.
        settings: Arguments as ``NAME=VALUE``.
    """
    from capsbench.arguments import resolve
    from capsbench.schema import parse_changes
    from capsbench.wrapping import model_class

    cls, given, what = model_class(target), parse_changes(settings), f"model '{target.name}'"
    for name in given:
        if name in OPTIONS:
            raise UserError(f"{what}: {name} is not set by --set; give {OPTIONS[name]}")
    return cls, resolve(cls, given, what=what, supplied=tuple(OPTIONS))


def wrapper_facts(model: Model) -> dict[str, str] | None:
    """Return the description of a wrapped network; None of a model with a contract of its own."""
    from capsbench.wrapping import LogitsModel
    from capsbench.wrapping.description import describe_wrapper

    return describe_wrapper(model) if isinstance(model, LogitsModel) else None


def model_facts(
    target: Target,
    image_shape: tuple[int, int, int],
    classes: int,
    settings: list[str],
    batch: int,
    timed: bool,
) -> Facts:
    """Return the description of a model, its layers, and its cost for given images.

    Args:
        target: The model.
        image_shape: (C, H, W) of the images.
        classes: Number of classes.
        settings: Arguments as ``NAME=VALUE``.
        batch: Images whose votes are counted.
        timed: Time a batch on one thread of the processor.
    """
    from capsbench.profiling.model_cost import model_cost
    from capsbench.profiling.step_time import step_times
    from capsbench.search_space import as_in_files, checked_knobs
    from capsbench.training.devices import use_threads

    cls, arguments = model_with_arguments(target, settings)
    try:
        model = cls(image_shape=image_shape, num_classes=classes, **arguments).eval()
        cost = model_cost(model)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        what = f"model '{target.name}' for images of {'x'.join(map(str, image_shape))}"
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            raise UserError(f"{what} needs more memory than is available") from error
        if cls.__module__.startswith("capsbench."):
            raise  # a bug of our own
        raise UserError(f"{what}: {in_one_line(error, cls.__module__)}") from error
    knobs = checked_knobs(cls, cls.knobs, what=f"model '{target.name}'")
    facts = {
        **_class_facts(target, cls),
        "image_shape": image_shape,
        "classes": classes,
        "parameters": cost.parameters,
        **({"knobs": {k: as_in_files(knob) for k, knob in knobs.items()}} if knobs else {}),
        **(wrapper_facts(model) or {}),
    }
    if cost.decoder_parameters is not None:
        facts["parameters_without_decoder"] = cost.parameters - cost.decoder_parameters
    votes = cost.vote_bytes(batch)
    if timed:
        with use_threads(1):
            facts["seconds"] = [each._asdict() for each in step_times(model, batch)]
    return {
        **facts,
        "flops": cost.flops,
        "batch": batch,
        "vote_bytes": sum(votes.values()),
        "vote_bytes_by_layer": votes,
        "layers": [asdict(layer) for layer in cost.layers],
        "transformations": transformation_facts(model),
    }


def transformation_facts(model: Model) -> list[dict[str, str]]:
    """Return the transformations that a model declares for its layers of interest."""
    return [
        {
            "layer": name,
            "transformation": type(declared).__name__,
            "by_construction": ", ".join(map(str, declared.exact)),
            "claimed": ", ".join(map(str, declared.claimed)),
            "source": declared.source,
        }
        for name, layer in model.layers_of_interest().items()
        if (declared := layer.transformation) is not None
    ]


def data_facts(target: Target, data_root: Path) -> Facts:
    """Return the description of a data module, and the availability of its files."""
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
    """Return the protocol of a benchmark with defaults filled in, or claims with their tests."""
    from capsbench.schema import is_claims, load_benchmark, load_claims

    load = load_claims if is_claims(target.name) else load_benchmark
    protocol = load(target.name).model_dump(mode="json", exclude_none=True)
    title = protocol.pop("title")
    return {
        "name": protocol.pop("name"),
        "kind": SINGULAR["benchmarks"],
        "summary": title,
        "file": str(target.source()),
        **protocol,
    }


def measure_facts(target: Target) -> Facts:
    """Return the definition of a measure, its arguments, and the metrics of its values."""
    from capsbench.cli.docstrings import describe, describe_fields
    from capsbench.measures import load_measure

    measure = load_measure(target.name)
    summary, paragraphs = describe(measure)
    fields = describe_fields(measure.config)
    return {
        "name": target.name,
        "kind": SINGULAR["measures"],
        "summary": summary,
        "description": "\n\n".join(paragraphs),
        "source": measure.source,
        "revision": measure.revision,
        "file": str(target.source()),
        "arguments": [field for field in fields if field["name"] != "measure"],
        "metrics": [
            {"name": name, "unit": spec.unit, "documentation": spec.description}
            for name, spec in measure.metrics.items()
        ],
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
