"""Names in files, records and checkpoints, which can come from anywhere."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, get_type_hints

from torch import nn

from capsbench.names import Kind, is_trusted, require_trusted, untrusted
from capsbench.wrapping.built_model import TIMM

TORCHVISION = "torchvision.models"
LIBRARIES = (TORCHVISION, TIMM)  # modules of networks, imported if a name needs them


def is_known_model(name: str) -> bool:
    """Check that a name of a file or record is registered, trusted, or of torchvision or timm.

    A record that states ``os:system`` must call nothing.
    """
    if is_trusted("models", name):
        return True
    module, _, attribute = name.rpartition(":")
    if module == TORCHVISION:
        return gives_module(getattr(importlib.import_module(module), attribute, None))
    return module == TIMM


def require_known(kind: Kind, name: str) -> None:
    """Refuse a name of a file or record whose code the user does not trust.

    Raises:
        UserError: See `capsbench.names.require_trusted`.
    """
    if kind != "models":
        require_trusted(kind, name)
    elif ":" in name and not is_known_model(name):
        raise untrusted(kind, name)


def gives_module(function: Any) -> bool:
    """Return True for a class of modules, or a function whose annotation says that it gives one."""
    cls = function
    if inspect.isroutine(function):
        cls = get_type_hints(function).get("return")
    return isinstance(cls, type) and issubclass(cls, nn.Module)
