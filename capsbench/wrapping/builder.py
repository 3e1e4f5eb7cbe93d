"""Builders of networks: an nn.Module class, or a function that returns a module."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any, get_type_hints

import torch
from torch import nn

from capsbench.contracts import ImageShape
from capsbench.errors import UserError
from capsbench.wrapping.plain_types import plain_type

# Names of parameters that are fitted to the data, as libraries call them. `num_channels` is none of
# them, since it can be the width of the network.
CLASSES = ("num_classes", "n_classes", "num_labels", "classes", "nb_classes", "num_class")
CHANNELS = ("in_channels", "in_chans", "input_channels", "in_ch", "num_input_channels")
SIZES = ("image_size", "img_size")
SHAPES = ("image_shape",)


@dataclass(frozen=True)
class Builder:
    """A function or class that builds a network, with its parameters.

    Attributes:
        function: The function or class.
        parameters: Its parameters by name, except ``*args`` and ``**kwargs``.
        types: Their types, as far as pydantic can check them.
        keywords: Name of ``**kwargs`` that reach a network of unknown parameters; None without.
        tried: Names of further parameters that are given if the network takes them.
    """

    function: Callable[..., Any]
    parameters: Mapping[str, Parameter]
    types: Mapping[str, Any]
    keywords: str | None = None
    tried: tuple[str, ...] = field(default=())

    @property
    def fitted(self) -> list[str]:
        """Names of the parameters that are fitted to image shape and classes."""
        kinds = (CLASSES, CHANNELS, SIZES, SHAPES)
        firsts = (next((n for n in names if n in self.parameters), None) for names in kinds)
        return [name for name in firsts if name is not None]

    @property
    def own(self) -> dict[str, Parameter]:
        """The other parameters, without those whose default JSON cannot represent."""
        return {
            name: parameter
            for name, parameter in self.parameters.items()
            if name not in self.fitted and _is_json(parameter.default)
        }

    def values(self, names: Sequence[str], shape: ImageShape, classes: int) -> dict[str, Any]:
        """Return the values of fitted parameters by name.

        Args:
            names: Names of the parameters.
            shape: (C, H, W).
            classes: K.
        """
        channels, height, width = shape
        by_kind: dict[tuple[str, ...], Any] = {
            CLASSES: classes,
            CHANNELS: channels,
            SIZES: height if height == width else (height, width),
            SHAPES: shape,
        }
        return {name: each for kind, each in by_kind.items() for name in kind if name in names}

    def build(
        self, shape: ImageShape, classes: int, arguments: Mapping[str, Any]
    ) -> tuple[nn.Module, dict[str, Any]]:
        """Build a network, and return it with the values that were fitted, by name.

        Args:
            shape: (C, H, W) of the images.
            classes: K.
            arguments: The parameters that are not fitted, as JSON gives them.

        Raises:
            UserError: The builder returns no module.
        """
        given = {name: self._as_default(name, value) for name, value in arguments.items()}
        if self.keywords is not None:
            given |= given.pop(self.keywords, {})
        fitted = self.values(self.fitted, shape, classes)
        given |= fitted
        first = [
            given.pop(name)
            for name, parameter in self.parameters.items()
            if parameter.kind is Parameter.POSITIONAL_ONLY and name in given
        ]
        tried = {n: v for n, v in self.values(self.tried, shape, classes).items() if n not in given}
        state = torch.random.get_rng_state()
        while True:
            try:
                module = self.function(*first, **tried, **given)
                break
            except TypeError as error:
                refused = next((name for name in tried if f"'{name}'" in str(error)), None)
                if refused is None:
                    raise
                del tried[refused]
                torch.random.set_rng_state(state)  # as if only the last call had been made
        if not isinstance(module, nn.Module):
            raise UserError(f"expected a torch.nn.Module, got a {type(module).__name__}")
        return module, fitted | tried

    def _as_default(self, name: str, value: Any) -> Any:
        """Return a list of JSON as a tuple, if the parameter's default is one."""
        default = self.parameters[name].default if name in self.parameters else None
        return tuple(value) if isinstance(default, tuple) and isinstance(value, list) else value


def read_builder(function: Callable[..., Any]) -> Builder:
    """Read the parameters of a function, or of a class with those parents that get ``**kwargs``."""
    parameters: dict[str, Parameter] = {}
    hints: dict[str, Any] = {}
    keywords: str | None = None
    for constructor in _constructors(function):
        keywords = None
        own = list(inspect.signature(constructor).parameters.values())
        for parameter in own[1:] if isinstance(function, type) else own:
            if parameter.kind is Parameter.VAR_KEYWORD:
                keywords = parameter.name
            elif parameter.kind is not Parameter.VAR_POSITIONAL:
                parameters.setdefault(parameter.name, parameter)
        hints = _hints(constructor) | hints
        if keywords is None:
            break
    types = {name: plain_type(hints.get(name, Any), p.default) for name, p in parameters.items()}
    tried = [] if keywords is None else [kind[0] for kind in (CLASSES, SIZES)]
    known = {kind[0] for kind in (CLASSES, SIZES) if any(name in parameters for name in kind)}
    # Parents of a class are known, so that its keywords go no further.
    return Builder(
        function,
        parameters,
        types,
        None if isinstance(function, type) else keywords,
        tuple(name for name in tried if name not in known),
    )


def _constructors(function: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Yield a function; of a class its constructor and those of its parents below nn.Module."""
    if not isinstance(function, type):
        yield function
        return
    for parent in function.__mro__:
        if parent.__module__.partition(".")[0] in ("torch", "pytorch_lightning", "lightning"):
            return
        if "__init__" in vars(parent):
            yield vars(parent)["__init__"]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return {}  # names that the library imports for its type checker alone


def _is_json(default: Any) -> bool:
    if default is Parameter.empty:
        return True
    try:
        json.dumps(default, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
