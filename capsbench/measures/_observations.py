"""Outputs of models and derivatives of layers, observed while a measure is computed.

Flags are accumulated on the device and read once, after the last batch: observing never waits for
the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor, nn

from capsbench.contracts import Model, Prediction
from capsbench.measures._copies import copy_tensors

LOG_PROBABILITIES = "log-probabilities"
PRESENCES = "presences"
RECONSTRUCTION = "reconstruction"


class Output(NamedTuple):
    """An output of a model.

    Attributes:
        name: `LOG_PROBABILITIES`, `PRESENCES`, `RECONSTRUCTION`, or the name of a layer.
        is_layer: True for a layer.
        source: Label of the source model; None for the measured one.
        is_gradient: True for the gradient of this output with respect to the image.
    """

    name: str
    is_layer: bool = False
    source: str | None = None
    is_gradient: bool = False

    def __str__(self) -> str:
        if self.is_layer:
            return f"layer '{self.name}'"
        what = "the output" if self.name == LOG_PROBABILITIES else f"the output '{self.name}'"
        return what if self.source is None else f"{what} of {self.source}"


class Observations:
    """The outputs and derivatives that a measure has seen."""

    def __init__(self) -> None:
        self._seen: dict[Output, int] = {}
        self._nonfinite: dict[Output, Tensor] = {}
        self._has_derivative: dict[Output, Tensor] = {}

    @property
    def outputs(self) -> frozenset[Output]:
        """The outputs that were observed."""
        return frozenset(self._seen)

    @torch.no_grad()
    def add(self, output: Output, values: Tensor) -> None:
        """Count the images (B, ...) whose output is not finite.

        A log-probability of minus infinity is the probability 0. Of log-probabilities only the
        largest must therefore be finite.
        """
        if output.name == LOG_PROBABILITIES:
            values = values.amax(dim=-1)
        values = values.reshape(len(values), -1)
        # Both are NaN if a number is; each takes 1/20 of the time of `isfinite` on all numbers.
        nonfinite = ~(values.amin(dim=1).isfinite() & values.amax(dim=1).isfinite())
        self._seen[output] = self._seen.get(output, 0) + len(values)
        self._nonfinite[output] = nonfinite.sum() + self._nonfinite.get(output, 0)

    @torch.no_grad()
    def add_derivative(self, output: Output, derivative: Tensor) -> None:
        """Record a derivative of an output along a movement of the image."""
        exists = has_direction(derivative)
        self._has_derivative[output] = exists | self._has_derivative.get(output, exists)

    def nonfinite(self) -> dict[Output, str]:
        """Return the reason for each output that was not finite for every image."""
        counts = {output: int(count) for output, count in self._nonfinite.items()}
        return {
            output: f"{output} is not finite for {count:,} of {self._seen[output]:,} images "
            "(an image counts once for each view and pass)"
            for output, count in counts.items()
            if count
        }

    def has_derivative(self, output: Output) -> bool:
        """Return True if a derivative that was recorded is finite and not 0 somewhere."""
        return output in self._has_derivative and bool(self._has_derivative[output])


_current: ContextVar[Observations | None] = ContextVar("observations", default=None)


def has_direction(gradient: Tensor) -> Tensor:
    """Return a bool scalar, True if a gradient is finite and not 0 somewhere."""
    return (gradient.isfinite() & (gradient != 0)).any()


@contextmanager
def observe(models: Mapping[str | None, Model], names: Iterable[str]) -> Iterator[Observations]:
    """Observe outputs of models in every forward pass, and what the functions below are given.

    Args:
        models: The measured model under None, and source models under their labels.
        names: Names of the outputs, see `Output`; those that a model lacks are skipped.
    """
    observations, names = Observations(), tuple(names)

    def hook(source: str | None) -> Callable[[nn.Module, object, Prediction], None]:
        def add(model: nn.Module, _images: object, prediction: Prediction) -> None:
            if _current.get() is None:
                return
            assert isinstance(model, Model)
            for name in names:
                if name == LOG_PROBABILITIES:
                    values = _log_probabilities(model, prediction)
                else:
                    values = getattr(prediction, name)
                if values is not None:
                    observations.add(Output(name, source=source), values)

        return add

    hooks = [model.register_forward_hook(hook(source)) for source, model in models.items() if names]
    token = _current.set(observations)
    try:
        yield observations
    finally:
        _current.reset(token)
        for each in hooks:
            each.remove()


@contextmanager
def unobserved() -> Iterator[None]:
    """Observe nothing: images that no value is computed from, or a pass inside of torch.func."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def observe_layer(name: str, activation: Tensor) -> None:
    """Report the activation (B, ...) of a layer of the measured model."""
    if (observations := _current.get()) is not None:
        observations.add(Output(name, is_layer=True), activation)


def observe_layer_derivative(name: str, derivative: Tensor) -> None:
    """Report a derivative of a layer of the measured model along a movement of the image."""
    if (observations := _current.get()) is not None:
        output = Output(name, is_layer=True, is_gradient=True)
        observations.add_derivative(output, derivative)


@torch.no_grad()
def _log_probabilities(model: Model, prediction: Prediction) -> Tensor:
    """Return logits, whose largest is finite where that of the log-probabilities is."""
    if type(model).logits is not Model.logits:
        prediction = copy_tensors(prediction)  # which the measure reads later
    return model.probability_exponent * model.logits(prediction)
