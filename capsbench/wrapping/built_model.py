"""The class of any model that a name or path can give."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, ClassVar, cast, get_type_hints

from torch import nn

from capsbench.contracts import ImageShape, Model
from capsbench.errors import UserError, in_one_line
from capsbench.names import Target, find, from_folder, without_folder
from capsbench.wrapping.builder import Builder, read_builder
from capsbench.wrapping.logits_model import LogitsModel
from capsbench.wrapping.outputs import Key
from capsbench.wrapping.timm_models import timm_builder

TORCHVISION = "torchvision.models"
TIMM = "timm"
LIBRARIES = (TORCHVISION, TIMM)  # modules of networks, imported if a name needs them
SUPPLIED: dict[str, Any] = {"image_shape": ImageShape, "num_classes": int}
WRAPPER: dict[str, Any] = {
    "output_key": Key | None,
    "mean": tuple[float, ...] | None,
    "std": tuple[float, ...] | None,
}
KEYWORDS = dict[str, Any]


class BuiltModel(LogitsModel):
    """Base of the classes that `model_class` makes for networks of other libraries.

    Attributes:
        builder: The class or function that builds the network.
        path: Name or path of the network; the path of a user's own file is absolute.
        fitted: Values of the builder's parameters that the image shape and the classes determine.

    Args:
        kwargs: Further arguments of the function that builds the network, by name.
    """

    fitted: Mapping[str, Any]
    builder: ClassVar[Builder]
    path: ClassVar[str]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the path of the class, which no module holds."""
        return _new_instance, (self.path,), self.__dict__

    @classmethod
    def loading_code(cls) -> str:
        """Return the Python expression of the class, for the model card."""
        return f'model_class(find("models", "{without_folder(cls.path)}"))'


def model_class(target: Target) -> type[Model]:
    """Return the class of a model: itself, or one that builds and wraps a network.

    A network is the name of an `torch.nn.Module` class or of a function that returns a module, such
    as ``torchvision.models:resnet18``, ``timm:resnet10t`` or ``file.py:Net``. Its class derives
    from `LogitsModel`. The constructor takes image shape and classes, the parameters of the network
    that these do not determine, and the arguments of `LogitsModel`.

    Raises:
        UserError: See `capsbench.names.Target.load_subclass`; or the target is neither a model nor
            a network.
    """
    if target.module == TIMM:
        return _built_class(target, TIMM, timm_builder(target.attribute))
    loaded = target.load()
    if isinstance(loaded, type) and issubclass(loaded, Model):
        return cast(type[Model], target.load_subclass(Model))
    if not builds_network(loaded):
        actual = "an instance" if isinstance(loaded, nn.Module) else f"{loaded!r}"
        raise UserError(
            f"model '{target.name}' is {actual}; expected a subclass of capsbench.contracts.Model "
            "or torch.nn.Module, or a function that returns a module"
        )
    if inspect.isabstract(loaded):
        target.load_subclass(nn.Module)  # refuses it
    own = loaded.func if isinstance(loaded, partial) else loaded
    return _built_class(target, own.__module__, read_builder(loaded))


def builds_network(loaded: Any) -> bool:
    """Return True for a class of modules, and for a callable with a signature, such as a function.

    It may return a module.
    """
    if isinstance(loaded, type):
        return issubclass(loaded, nn.Module)
    if isinstance(loaded, nn.Module) or not callable(loaded):
        return False
    try:
        inspect.signature(loaded)
    except ValueError:
        return False  # a function in C, whose parameters are unknown
    return True


def gives_module(function: Any) -> bool:
    """Return True for a class of modules, or a function whose annotation says that it gives one."""
    cls = function
    if inspect.isroutine(function):
        cls = get_type_hints(function).get("return")
    return isinstance(cls, type) and issubclass(cls, nn.Module)


def is_library_network(path: str) -> bool:
    """Check that a path is that of a network of torchvision or timm."""
    module, _, attribute = path.rpartition(":")
    if module == TORCHVISION:
        return gives_module(getattr(importlib.import_module(module), attribute, None))
    return module == TIMM


# Each network has one class, so that copies and loaded models have the class of their original.
_CLASSES: dict[tuple[str, Callable[..., Any] | str], type[BuiltModel]] = {}


def _built_class(target: Target, module: str, builder: Builder) -> type[BuiltModel]:
    key = (target.attribute, TIMM if target.module == TIMM else builder.function)
    if key not in _CLASSES:
        anonymous = isinstance(builder.function, partial)  # also of timm: its text is of another
        members = {
            "__init__": _constructor(target.name, builder),
            "__module__": module,
            "__doc__": None if anonymous else inspect.getdoc(builder.function),
            "builder": builder,
            "path": from_folder(Path.cwd(), target.name),
            "knobs": getattr(builder.function, "knobs", {}),  # networks may declare some
        }
        _CLASSES[key] = type(target.attribute, (BuiltModel,), members)
    return _CLASSES[key]


def _constructor(name: str, builder: Builder) -> Callable[..., None]:
    """Return the constructor of a network's class; its signature is the schema of arguments."""
    types = SUPPLIED | {each: builder.types.get(each, Any) for each in builder.own}
    defaults = {each: parameter.default for each, parameter in builder.own.items()}
    if builder.keywords is not None:
        types, defaults = types | {builder.keywords: KEYWORDS}, defaults | {builder.keywords: {}}
    wrapper = [each for each in WRAPPER if each not in types]  # a network's own come first
    types = types | {each: WRAPPER[each] for each in wrapper}
    defaults = defaults | dict.fromkeys(wrapper)

    def construct(
        self: BuiltModel, *, image_shape: ImageShape, num_classes: int, **arguments: Any
    ) -> None:
        own = {each: arguments.pop(each) for each in wrapper if each in arguments}
        try:
            module, fitted = builder.build(image_shape, num_classes, arguments)
        except UserError as error:
            raise UserError(f"model '{name}': {error}") from None
        except Exception as error:  # a user's constructor may raise anything
            reason = in_one_line(error, type(self).__module__)
            raise UserError(f"model '{name}' cannot be built: {reason}") from error
        LogitsModel.__init__(self, module, image_shape=image_shape, num_classes=num_classes, **own)
        self.fitted = fitted

    own = [
        Parameter(
            each,
            Parameter.KEYWORD_ONLY,
            default=defaults.get(each, Parameter.empty),
            annotation=annotation,
        )
        for each, annotation in types.items()
    ]
    # Required parameters may follow others, since all are keyword-only.
    signature = Signature([Parameter("self", Parameter.POSITIONAL_OR_KEYWORD), *own])
    construct.__signature__ = signature  # type: ignore[attr-defined]  # read by inspect.signature
    construct.__annotations__ = types
    return construct


def _new_instance(path: str) -> Model:
    """Return an instance without content, which pickle then fills in."""
    cls = model_class(find("models", path))
    return cls.__new__(cls)
