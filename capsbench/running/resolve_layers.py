"""Layers of a benchmark's measures, resolved for each model before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from capsbench.contracts import Model
from capsbench.errors import UserError, unknown
from capsbench.measures import MeasureConfig
from capsbench.measures._activations import choose_layers


def resolve_layers(
    configs: Sequence[MeasureConfig],
    models: Mapping[str, Model],
    others: Callable[[], Iterable[Model]] = tuple,
) -> dict[str, list[MeasureConfig]]:
    """Return the measures of each model, restricted to the layers that it has.

    The measure of a model that has none of its layers is not restricted: its record states that
    there is none.

    Args:
        configs: Measures of a benchmark, whose models have different layers.
        models: Its models, by label.
        others: Function that returns those that are not run; a measure may name their layers. They
            are built only if no model has a layer.

    Raises:
        UserError: No model has a layer.
    """
    known = {label: _layer_names(model) for label, model in models.items()}
    of_others: set[str] | None = None
    resolved: dict[str, list[MeasureConfig]] = {label: [] for label in models}
    for config in configs:
        named = dict(config).get("layers")
        for name in named or ():
            if any(name in names for names in known.values()):
                continue
            if of_others is None:
                of_others = {each for model in others() for each in _layer_names(model)}
            if name not in of_others:
                everywhere = of_others.union(*known.values())
                raise UserError(f"{config.measure}: {unknown('layer:', name, everywhere)}")
        for label, names in known.items():
            resolved[label].append(_restricted(config, names))
    return resolved


def with_own_layers(config: MeasureConfig, model: Model) -> MeasureConfig:
    """Return a measure restricted to the layers that a model has; unchanged if it has none."""
    return _restricted(config, _layer_names(model))


def _restricted(config: MeasureConfig, names: Collection[str]) -> MeasureConfig:
    named = dict(config).get("layers")
    layers = tuple(name for name in named or () if name in names)
    return config.model_copy(update={"layers": layers}) if layers else config


def _layer_names(model: Model) -> set[str]:
    return {*choose_layers(model), *model.addressed_modules()}
