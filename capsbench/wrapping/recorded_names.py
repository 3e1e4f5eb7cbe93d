"""Names of models in records and checkpoints, which can come from anywhere."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, get_type_hints

from torch import nn

from capsbench.names import table
from capsbench.wrapping.built_model import TIMM

TORCHVISION = "torchvision.models"
LIBRARIES = (TORCHVISION, TIMM)  # modules of networks, imported if a name needs them


def is_known_model(name: str) -> bool:
    """Check that a recorded name is registered, or that of a network of torchvision or timm.

    Other names are used only if the user gives them: a record that states ``os:system`` must call
    nothing.
    """
    if name in table("models"):
        return True
    module, _, attribute = name.partition(":")
    if module == TORCHVISION:
        return gives_module(getattr(importlib.import_module(module), attribute, None))
    return module == TIMM


def gives_module(function: Any) -> bool:
    """Return True for a class of modules, or a function whose annotation says that it gives one."""
    cls = function
    if inspect.isroutine(function):
        cls = get_type_hints(function).get("return")
    return isinstance(cls, type) and issubclass(cls, nn.Module)
