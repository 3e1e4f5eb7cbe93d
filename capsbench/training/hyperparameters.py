"""Hyperparameters of a task as plain values, as checkpoints keep and loggers show them."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from capsbench.arguments import typed
from capsbench.contracts import Model
from capsbench.errors import UserError
from capsbench.names import FILE_MODULE, find, imported_modules, table, without_folder
from capsbench.training.recipe import Recipe
from capsbench.wrapping import model_class
from capsbench.wrapping.built_model import LIBRARIES, TIMM, BuiltModel, gives_module

ADVICE = "pass it: load_from_checkpoint(path, model=...)"


def plain_hyperparameters(model: nn.Module, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Return model, recipe and seed in the form of a configuration of `LightningCLI`.

    The model is its import path, or ``net.py:Net`` for a file, and the arguments of its
    constructor; None if they are unknown, or one of them is no plain value.
    """
    arguments = None
    if isinstance(model, Model):
        try:
            arguments = model.constructor_arguments()
        except UserError:
            arguments = None  # the task can be trained, and loaded with the model given
    return {
        "model": {"class_path": _class_path(model), "init_args": arguments},
        "recipe": recipe.model_dump(mode="json"),
        "seed": seed,
    }


def restored_model(model: nn.Module | Mapping[str, Any]) -> nn.Module:
    """Return a module unchanged; build the model of saved hyperparameters, with new weights.

    Raises:
        UserError: The class is not safe to build, see `_find_class`; or its arguments are unknown
            or do not fit it.
    """
    if not isinstance(model, Mapping):
        return model
    path, arguments = model["class_path"], model["init_args"]
    if arguments is None:
        raise UserError(f"the checkpoint does not have the arguments of its model {path}; {ADVICE}")
    cls = _find_class(path)
    return cls(**typed(cls, arguments, what=f"model '{path}'"))


def _class_path(model: nn.Module) -> str:
    cls = type(model)
    if isinstance(model, BuiltModel):
        return without_folder(model.path) if ".py:" in model.path else model.path
    if cls.__module__.startswith(FILE_MODULE):
        return f"{Path(inspect.getfile(cls)).name}:{cls.__qualname__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def _find_class(path: str) -> type[Model]:
    """Return the class of a saved import path.

    A checkpoint can come from anywhere. So only models of this package, of registered plug-ins, of
    known libraries and of modules that are already imported are built, and no other function is
    called.

    Raises:
        UserError: The path names none of these.
    """
    registered = table("models")
    if path in registered:
        return model_class(registered[path])
    built = ":" in path
    module, _, name = path.rpartition(":" if built else ".")
    known = {*LIBRARIES, *(target.module for target in registered.values())}
    if module.startswith("capsbench.") or module in known:
        importlib.import_module(module)
    elif module.endswith(".py") and len(files := imported_modules(module)) == 1:
        module = files[0].__name__
    cls = getattr(sys.modules.get(module), name, None)
    if built and (module == TIMM or gives_module(cls)):
        return model_class(find("models", f"{module}:{name}"))
    if built or not (isinstance(cls, type) and issubclass(cls, Model)):
        raise UserError(
            f"the checkpoint's model {path} is not among the imported models; import its module "
            f"first, or {ADVICE}"
        )
    return cls
