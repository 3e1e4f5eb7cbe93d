"""Models, data modules, benchmarks and measures by name, from Python."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsbench.arguments import typed
from capsbench.names import Kind, find, table

if TYPE_CHECKING:
    from capsbench.contracts import ImageShape, Model
    from capsbench.data.images import ImageDataModule
    from capsbench.viewpoint.ranges import ViewRange


def list_models(filter: str = "*") -> list[str]:  # noqa: A002 (the name that timm has)
    """Return the names of the models, those of installed plug-ins included.

    ``capsbench list models`` prints them with a line on each.

    Args:
        filter: Pattern of the names, such as ``"capsnet*"``.

    >>> list_models("capsnet-dr*")
    ['capsnet-dr', 'capsnet-dr-code']
    """
    return _names("models", filter)


def list_datamodules(filter: str = "*") -> list[str]:  # noqa: A002 (the name that timm has)
    """Return the names of the data modules, see `list_models`.

    >>> list_datamodules("toy*")
    ['toynorb']
    """
    return _names("datamodules", filter)


def list_benchmarks(filter: str = "*") -> list[str]:  # noqa: A002 (the name that timm has)
    """Return the names of the benchmarks and of the files of claims, see `list_models`.

    >>> list_benchmarks("q*")
    ['quick']
    """
    return _names("benchmarks", filter)


def list_measures(filter: str = "*") -> list[str]:  # noqa: A002 (the name that timm has)
    """Return the names of the measures, see `list_models`.

    >>> list_measures("accuracy-by-*view")
    ['accuracy-by-joint-view', 'accuracy-by-view']
    """
    return _names("measures", filter)


def create_model(
    name: str, *, image_shape: ImageShape, num_classes: int, **arguments: Any
) -> Model:
    """Build a model, untrained.

    Args:
        name: A name of `list_models`, or the path of a `Model` or of a network that returns logits,
            such as ``file.py:Net`` or ``torchvision.models:resnet18``.
        image_shape: (C, H, W).
        num_classes: Number of classes.
        arguments: Further arguments of the model, checked as in a benchmark file.

    Raises:
        UserError: The name or an argument is unknown, or an argument has the wrong type.
    """
    from capsbench.wrapping import model_class

    cls = model_class(find("models", name))
    given = {"image_shape": image_shape, "num_classes": num_classes, **arguments}
    return cls(**typed(cls, given, what=f"model '{name}'"))


def create_datamodule(
    name: str,
    *,
    views: ViewRange | Mapping[str, Any] | None = None,
    data_root: Path | str | None = None,
    **arguments: Any,
) -> ImageDataModule:
    """Build a data module, with nothing loaded yet.

    Args:
        name: A name of `list_datamodules`, ``package.module:Class`` or ``file.py:Class``.
        views: Views of the training images, such as ``{"rotation": (-15, 15)}``; by default the
            images as they are stored.
        data_root: Folder of local data files; ``data`` by default.
        arguments: Further arguments, such as ``batch_size``, checked as in a benchmark file.

    Raises:
        UserError: The name or an argument is unknown, an argument has the wrong type, or the set
            does not record such views.
    """
    from capsbench.data.images import ImageDataModule

    cls = find("datamodules", name).load_subclass(ImageDataModule)
    given = {"views": views, "data_root": data_root, **arguments}
    data: ImageDataModule = cls(**typed(cls, given, what=f"data module '{name}'"))
    return data


def _names(kind: Kind, pattern: str) -> list[str]:
    return [name for name in table(kind) if fnmatchcase(name, pattern)]
