"""What goes into a model's max-poolings and what comes out, while it looks at images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from capsbench.contracts import MaxPool, Model

OF_TORCH = (nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.FractionalMaxPool2d)


def max_poolings(model: Model) -> dict[str, nn.Module]:
    """A model's max-poolings by dotted path: modules of torch, or of its own that are `MaxPool`.

    A function, such as ``torch.nn.functional.max_pool2d``, is no module and is not seen.
    """
    modules = model.addressed_modules().items()
    return {path: each for path, each in modules if isinstance(each, (*OF_TORCH, MaxPool))}


@contextmanager
def watching_poolings(model: Model) -> Iterator[dict[str, Tensor]]:
    """Keep what max-poolings are given and give, batch after batch.

    Yields:
        The last batch's maps, by ``before <path>`` and ``after <path>``.
    """
    seen: dict[str, Tensor] = {}

    def watch(path: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
            seen[f"before {path}"], seen[f"after {path}"] = given[0], output

        return module.register_forward_hook(hook)

    hooks = [watch(path, module) for path, module in max_poolings(model).items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
