"""Inputs and outputs of a model's max-poolings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from capsbench.contracts import MaxPool, Model
from capsbench.measures._copies import copy_activations

TORCH_POOLINGS = (nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.FractionalMaxPool2d)


def max_poolings(model: Model) -> dict[str, nn.Module]:
    """Return a model's max-poolings by dotted path: modules of torch and subclasses of `MaxPool`.

    Functions such as ``torch.nn.functional.max_pool2d`` are no modules and are not included.
    """
    modules = model.addressed_modules().items()
    return {path: each for path, each in modules if isinstance(each, (*TORCH_POOLINGS, MaxPool))}


@contextmanager
def capture_poolings(model: Model) -> Iterator[dict[str, Tensor]]:
    """Capture the inputs and outputs of max-poolings in every forward pass.

    Both are copied when the module is called, see `capture_activations`.

    Yields:
        The maps of the last batch, by ``before <path>`` and ``after <path>``.
    """
    captured: dict[str, Tensor] = {}

    def add_hooks(path: str, module: nn.Module) -> Iterator[Any]:
        def before(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            captured[f"before {path}"] = copy_activations(inputs[0])

        def after(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
            captured[f"after {path}"] = copy_activations(output)

        yield module.register_forward_pre_hook(before)
        yield module.register_forward_hook(after)

    hooks = [
        hook for path, module in max_poolings(model).items() for hook in add_hooks(path, module)
    ]
    try:
        yield captured
    finally:
        for hook in hooks:
            hook.remove()
