"""Of the layers that a benchmark names, those that a model has; told before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from capsbench.contracts import Model
from capsbench.errors import UserError, unknown
from capsbench.measures import LayerEntry, MeasureEntry
from capsbench.measures._activations import choose_layers


def own_layers(
    entries: Sequence[MeasureEntry], models: Mapping[str, Model]
) -> dict[str, list[MeasureEntry]]:
    """The measures of each model, with the layers that it has.

    Args:
        entries: The measures of a benchmark, whose models have different layers.
        models: Its models, by label.

    Raises:
        UserError: A layer is one of no model, or a model has none of those that are named.
    """
    known = {label: _names(model) for label, model in models.items()}
    found: dict[str, list[MeasureEntry]] = {label: [] for label in models}
    for entry in entries:
        named = entry.layers if isinstance(entry, LayerEntry) else None
        for name in named or ():
            if not any(name in names for names in known.values()):
                everywhere = {each for names in known.values() for each in names}
                raise UserError(f"{entry.measure}: {unknown('layer:', name, everywhere)}")
        for label, names in known.items():
            mine = None if named is None else tuple(name for name in named if name in names)
            if mine == ():
                raise UserError(
                    f"{entry.measure}: {label} has none of the layers {', '.join(named or ())}; "
                    f"known: {', '.join(sorted(names))}"
                )
            own = entry if mine is None else entry.model_copy(update={"layers": mine})
            found[label].append(own)
    return found


def _names(model: Model) -> set[str]:
    return {*choose_layers(model), *model.addressed_modules()}
