"""Configuration of runs on Weights & Biases: flat, with names that can be filtered and grouped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from torch import nn

from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.capsules.em_layers import EMCapsules
from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.routings import ROUTINGS
from capsbench.capsules.self_attention_routing import SelfAttentionRouting
from capsbench.contracts import Model
from capsbench.names import find, is_own_file
from capsbench.records import BenchmarkRecord, CellReference, CellResult, Results, TrainingConfig
from capsbench.records.training import DataConfig, ModelConfig
from capsbench.reporting.wandb.keys import ARGUMENT, FAMILIAR, RECIPE_CONFIG, key
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Spread
from capsbench.wrapping import model_class

ROUTING_OF: Mapping[type[nn.Module], str] = {
    DynamicRouting: "dynamic",
    EMCapsules: "em",
    SelfAttentionRouting: "self-attention",
    **{layer: name for name, layer in ROUTINGS.items()},
}


def architecture(model: Model) -> dict[str, str]:
    """Return the family of a network, and its routing if it has any.

    A class that states no family is one of ``capsules`` if it has routed capsules, and of
    ``convolutions`` with weights of at least two spatial dimensions.
    """
    layers = [each for each in model.modules() if isinstance(each, RoutingLayer)]
    names = {
        ROUTING_OF[base] for each in layers for base in type(each).__mro__ if base in ROUTING_OF
    }
    if layers:
        return {"family": "capsules", "routing": ", ".join(sorted(names)) or "own"}
    convolves = any(weight.ndim >= 4 for weight in model.parameters())
    is_stated = model.family != Model.family
    return {"family": "convolutions" if convolves and not is_stated else model.family}


def training_config(
    config: TrainingConfig, model: str, folder: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the configuration of the run of a training; it depends on the training alone.

    Args:
        config: What determines the training.
        model: Name of the model.
        folder: Folder of the cell, relative to the runs folder.
        facts: Further values, such as the architecture and the number of parameters.
    """
    recipe = config.recipe.model_dump(mode="json")
    recipe["augmentation"] = ", ".join(map(str, config.recipe.augmentation)) or None
    return _present(
        _network(model, config.model, config.data, config.views)
        | {name: recipe[name] for name in RECIPE_CONFIG}
        | {"seed": config.seed, "fingerprint": config.fingerprint, "folder": folder}
        | dict(facts)
    )


def recorded_training_config(result: CellResult) -> dict[str, Any]:
    """Return the configuration of the run of a training, from its records alone."""
    config, reference = result.config, result.reference
    assert config is not None
    return training_config(config, reference.model, reference.path, _facts(result))


def evaluation_config(result: CellResult, record: BenchmarkRecord) -> dict[str, Any]:
    """Return the configuration of the run of a measured cell under a benchmark."""
    reference = result.reference
    own = {
        "label": result.label,
        "varied": result.point,
        "rule": next((each.rule for each in result.measures.values()), None),
        "trained_elsewhere": result.trained_elsewhere,
    }
    if (known := result.weights) is not None:
        own |= _network(reference.model, known.model, known.data, known.views) | _facts(result)
        own |= {"fingerprint": reference.fingerprint, "folder": reference.path}
    else:
        own |= recorded_training_config(result)
        own["training_run"] = reference.fingerprint
    return _present(own | benchmark_config(record))


def _facts(result: CellResult) -> dict[str, Any]:
    """Return what the records of a cell state of its network and of the code that made it."""
    known = result.weights or result.config
    assert known is not None
    made = result.weights or result.training
    assert made is not None
    return _architecture(result.reference, known.model, known.data) | {
        "parameters": result.parameters,
        "flops": result.flops,
        "commit": made.provenance.commit,
        "capsbench_version": made.provenance.versions.get("capsbench"),
    }


def aggregate_config(results: Results) -> dict[str, Any]:
    """Return the configuration of the run of a benchmark."""
    record, data = results.record, results.data()
    own = {
        "question": record.benchmark.question,
        "data": record.benchmark.data.name if data is None else data.name,
        "models": ", ".join(results.by_label()),
        "seeds": len({cell.seed for cell in results.cells if cell.seed is not None}),
        "commit": record.provenance.commit,
        "capsbench_version": record.provenance.versions.get("capsbench"),
    }
    return _present(own | benchmark_config(record) | _familiar(record.benchmark.views))


def benchmark_config(record: BenchmarkRecord) -> dict[str, Any]:
    """Return what every run under a benchmark states of it."""
    return {
        "benchmark": record.benchmark.name,
        "protocol_version": record.benchmark.version,
        "scale": record.size,
        "changes": ", ".join(record.change_texts) or None,
        "command": record.command,
    }


def _network(model: str, config: ModelConfig, data: DataConfig, views: ViewRange) -> dict[str, Any]:
    channels, height, width = data.image_shape
    arguments = {f"{ARGUMENT}{key(name)}": value for name, value in config.arguments.items()}
    return {
        "model": model,
        "data": data.name,
        "data_version": data.identity.get("version"),
        "image_height": height,
        "image_width": width,
        "image_channels": channels,
        "num_classes": data.num_classes,
        "per_class": data.per_class,
        **{name: _plain(value) for name, value in arguments.items()},
        **_familiar(views),
    }


def _familiar(views: ViewRange) -> dict[str, float]:
    """Return the lowest and highest familiar value of each factor that the protocol states."""
    stated = {name: getattr(views, name) for name in views.model_dump()}
    return {
        f"{FAMILIAR}{name}_{end}": limit
        for name, values in stated.items()
        if isinstance(values, Spread)
        for end, limit in zip(("low", "high"), values.limits, strict=True)
    }


def _architecture(reference: CellReference, model: ModelConfig, data: DataConfig) -> dict[str, str]:
    """Return the architecture of a recorded model; empty for a class of the user's own file."""
    if is_own_file(model.name) or ".py:" in reference.model or reference.trained_elsewhere:
        return {}
    arguments = json.dumps(model.arguments, sort_keys=True)
    return _named_architecture(reference.model, arguments, data.image_shape, data.num_classes)


@cache
def _named_architecture(
    name: str, arguments: str, image_shape: tuple[int, int, int], num_classes: int
) -> dict[str, str]:
    """Build a model, and return its architecture: all seeds of a model have the same."""
    build = model_class(find("models", name))
    given = json.loads(arguments)
    return architecture(build(image_shape=image_shape, num_classes=num_classes, **given))


def _plain(value: Any) -> Any:
    """Return a value as a number or a text: nested values cannot be filtered."""
    return value if isinstance(value, bool | int | float | str | None) else json.dumps(value)


def _present(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what does not apply."""
    return {name: value for name, value in config.items() if value is not None}
