"""Results without the values that a model's outputs do not support."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError
from capsbench.measures._config import MeasureConfig
from capsbench.measures._image_gradients import absent_gradients
from capsbench.measures._measure import Measure, MeasureContext
from capsbench.measures._nonfinite import first_names
from capsbench.measures._observations import LOG_PROBABILITIES, Observations, Output, observe
from capsbench.measures._result import MeasureResult
from capsbench.values import Quantity


def compute_checked(
    measure: type[Measure[Any]],
    config: MeasureConfig,
    model: Model,
    data: ImageDataModule,
    context: MeasureContext,
) -> MeasureResult:
    """Compute a measure without the values that the model's outputs do not support.

    A value is left out if an output that it is computed from is not finite for one of the images,
    or if it needs a gradient with respect to the image that does not exist. Notes have the reasons,
    and those of the context if the model was run.

    Args:
        measure: The measure, which declares what its values are computed from.
        config: Its arguments.
        model: The model.
        data: The data module.
        context: Device, progress, source models and notes.

    Raises:
        NotMeasuredError: The model lacks a part that the measure needs.
    """
    models: dict[str | None, Model] = {None: model}
    models.update(context.sources)
    with observe(models, measure.outputs) as observations:
        try:
            result = measure.compute(config, model, data, context)
        except UserError:
            raise
        except Exception:
            # Arithmetic on NaN fails in many ways, such as a linear system without a solution.
            if not observations.nonfinite():
                raise
            result = MeasureResult((), {})
    nonfinite = observations.nonfinite()
    result = _without(
        result,
        {value.name: _outputs_of(measure, value) for value in result.values},
        nonfinite,
    )
    gradients = {
        value.name: (_differentiated(value),)
        for value in result.values
        if measure.needs_gradient(value.quantity)
    }
    result = _without(result, gradients, _absent(gradients, observations, models, data, context))
    notes = context.model_notes if result.values and observations.outputs else ()
    return result._replace(notes=(*result.notes, *notes))


def _outputs_of(measure: type[Measure[Any]], quantity: Quantity) -> tuple[Output, ...]:
    """Return the outputs that a value is computed from."""
    if quantity.layer is not None:
        return (Output(quantity.layer, is_layer=True),)
    sources = {None, quantity.source}
    return tuple(Output(name, source=source) for name in measure.outputs for source in sources)


def _differentiated(quantity: Quantity) -> Output:
    """Return the output whose gradient a value needs."""
    if quantity.layer is not None:
        return Output(quantity.layer, is_layer=True)
    return Output(LOG_PROBABILITIES, source=quantity.source)


def _absent(
    gradients: Mapping[str, tuple[Output, ...]],
    observations: Observations,
    models: Mapping[str | None, Model],
    data: ImageDataModule,
    context: MeasureContext,
) -> dict[Output, str]:
    """Return the reasons of the outputs without a gradient.

    Only outputs for which the measure itself has met no gradient are searched.
    """
    needed = dict.fromkeys(output for outputs in gradients.values() for output in outputs)
    searched: dict[str | None, list[Output]] = {}
    for output in needed:
        if not observations.has_gradient(output):
            searched.setdefault(output.source, []).append(output)
    absent: dict[Output, str] = {}
    for source, outputs in searched.items():
        absent |= absent_gradients(models[source], outputs, data, context.device)
    return absent


def _without(
    result: MeasureResult,
    outputs: Mapping[str, tuple[Output, ...]],
    reasons: Mapping[Output, str],
) -> MeasureResult:
    """Return a result without the values of some outputs, and with the reasons as notes.

    Args:
        result: The result.
        outputs: The outputs that each value depends on, by its name.
        reasons: The reason for each output whose values are left out.
    """
    if not reasons:
        return result
    dropped = {
        name for name, needed in outputs.items() if any(output in reasons for output in needed)
    }
    values = [value for value in result.values if value.name not in dropped]
    if not values:  # other notes are consequences, such as 0/0
        notes = tuple(f"not measured: {reason}" for reason in reasons.values())
        return MeasureResult((), {}, tuple(dict.fromkeys(notes)))
    notes = result.notes
    for output, reason in reasons.items():
        names = [name for name, needed in outputs.items() if output in needed]
        notes += (f"not measured: {reason}" + (f": {first_names(names)}" if names else ""),)
    arrays = {name: array for name, array in result.per_image.items() if name not in dropped}
    return MeasureResult(values, arrays, notes)
