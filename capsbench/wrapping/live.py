"""Modules in memory as models of the benchmark, taken out of wrappers of torch and Lightning."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from capsbench.contracts import ImageShape, Model
from capsbench.errors import UserError
from capsbench.training.task import Task
from capsbench.wrapping.compiled import COMPILED, is_compiled
from capsbench.wrapping.logits_model import FixedMode, LogitsModel

DYNAMIC_BATCH = (
    "export it with a dynamic batch: torch.export.export(model.eval(), (images,), "
    "dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)) with two or more images"
)


def as_model(module: Any, *, image_shape: ImageShape, num_classes: int) -> Model:
    """Return a module in memory as a model for images and classes.

    A `Model` is returned itself, also from inside of a compiled, parallel or exported wrapper or of
    a `Task`; of other modules the logits are used. The module keeps its weights, device and mode.

    Args:
        module: A module, or an exported program.
        image_shape: (C, H, W) of the images.
        num_classes: K.

    Raises:
        UserError: The module is none, has parameters in another precision than float32, is for
            other images or classes, or is exported for training or for batches of one size.
    """
    inner = unwrap(module)
    _require_float32(inner)
    if not isinstance(inner, Model):
        return LogitsModel(inner, image_shape=image_shape, num_classes=num_classes)
    actual, expected = (tuple(inner.image_shape), inner.num_classes), (image_shape, num_classes)
    if actual != expected:
        raise UserError(
            f"the model is for images {actual[0]} of {actual[1]} classes, but the data has images "
            f"{expected[0]} of {expected[1]}"
        )
    return inner


def unwrap(module: Any) -> nn.Module:
    """Return the module inside of the wrappers of torch and Lightning.

    Raises:
        UserError: There is none, or one that was exported for training or for batches of one size.
    """
    match module:
        case nn.Module() if is_compiled(module):
            return unwrap(module.get_submodule(COMPILED))
        case nn.DataParallel() | nn.parallel.DistributedDataParallel():
            return unwrap(module.module)
        case Task():
            return unwrap(module.model)
        case ExportedProgram():
            return unwrap(module.module())
        case GraphModule() if "train" in vars(module):  # torch.export forbids to change the mode
            return _fixed(module)
        case torch.jit.ScriptModule() if not hasattr(module, "training"):
            module.training = False  # torch.jit.freeze removes the attribute
            return module
        case nn.Module():
            return module
    raise UserError(f"expected a module, or the path of a trained one; got {module!r}")


def _fixed(module: GraphModule) -> nn.Module:
    """Return a graph as a module with a fixed mode.

    Raises:
        UserError: It computes as in training, or takes batches of one size.
    """
    for node in module.graph.nodes:
        if _in_training(node):
            raise UserError(
                f"the module was exported in training mode ({node.target}): export model.eval()"
            )
        value = node.meta.get("val")
        if node.op == "placeholder" and isinstance(value, torch.Tensor):
            batch = value.shape[0]
            if isinstance(batch, int):
                raise UserError(
                    f"the module was exported for batches of {batch} images; {DYNAMIC_BATCH}"
                )
    return FixedMode(module)


def _in_training(node: Node) -> bool:
    """Return True for dropout or batch normalisation as in training."""
    schema = getattr(node.target, "_schema", None)
    names = [] if schema is None else [argument.name for argument in schema.arguments]
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    return given.get("train") is True or given.get("training") is True


def _require_float32(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise UserError(
                f"measures give images in float32, but the model has parameters in "
                f"{str(parameter.dtype).removeprefix('torch.')}: measure model.float()"
            )
