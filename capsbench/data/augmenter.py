"""Augmentation of training images by operations of kornia, each draw a function of a seed."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from typing import Any, get_type_hints

import torch
from kornia import augmentation as kornia_augmentation
from kornia.augmentation import (
    AugmentationBase2D,
    AugmentationBase3D,
    Denormalize,
    ImageSequential,
    MixAugmentationBaseV2,
    Normalize,
    auto,
)
from kornia.augmentation.auto import PolicyAugmentBase
from torch import Tensor, nn

from capsbench.data.augmentation import AugmentationOperation
from capsbench.errors import UserError, unknown

CHECKED = 16  # images, since some operations fit only if a small number is drawn
# Classes of kornia that are no operation on the images of a classifier, each with the reason.
REFUSED: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (MixAugmentationBaseV2, "mixes images, and with them their labels"),
    (AugmentationBase3D, "is for volumes"),
    ((Normalize, Denormalize), "moves pixels out of [0, 1]; models standardize images themselves"),
    (ImageSequential, "is a container; list its operations instead"),
)


class Augmenter:
    """Operations that change a batch of images at random, one after the other.

    kornia draws from torch's global generators. They are seeded for each batch and restored after
    it, so that no other draw depends on the augmentation.

    Args:
        operations: The operations, in their order.

    Raises:
        UserError: An operation is unknown or refused, or does not take its arguments.
    """

    def __init__(self, operations: Sequence[AugmentationOperation]) -> None:
        self.operations = tuple(map(build_operation, operations))

    @torch.no_grad()
    def __call__(self, images: Tensor, seed: int) -> Tensor:
        """Return augmented images, clamped to [0, 1] after each operation.

        Args:
            images: (B, C, H, W) in [0, 1].
            seed: Seed of all draws of the batch.
        """
        with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
            torch.manual_seed(seed)
            for operation in self.operations:
                changed: Tensor = operation(with_channels(operation, images))
                images = changed[:, : images.shape[1]].to(images).clamp(0, 1)
        return images


def with_channels(operation: nn.Module, images: Tensor) -> Tensor:
    """Return the images with the channels that an operation needs.

    The policies (RandAugment, ...) contain changes of colour, which leave grey images as they are.
    kornia refuses grey images there, so that they are given to it as three equal channels.

    Args:
        operation: The operation.
        images: (B, C, H, W).

    Returns:
        (B, C, H, W), or (B, 3, H, W) of grey images for a policy.
    """
    if images.shape[1] == 1 and isinstance(operation, PolicyAugmentBase):
        return images.repeat(1, 3, 1, 1)
    return images


def require_fit(entry: AugmentationOperation, image_shape: tuple[int, int, int]) -> None:
    """Check that an operation, with all of its parts, can be applied to images.

    Args:
        entry: The operation.
        image_shape: (C, H, W) of the images.

    Raises:
        UserError: kornia refuses the images, or the result has another size.
    """
    operation = build_operation(entry)
    images = with_channels(operation, torch.zeros(CHECKED, *image_shape))
    what = f"augmentation {entry}: images of {'x'.join(map(str, image_shape))}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for part in operation.modules():
            if not isinstance(part, AugmentationBase2D):
                continue
            part.p = part.p_batch = 1.0  # an operation that is skipped by chance accepts any image
            try:
                changed = part(images)
            except Exception as error:  # noqa: BLE001 - kornia refuses images by errors of any type
                reason = f"{type(part).__name__}: {_text(error)}"
                raise UserError(f"{what} do not fit it ({reason})") from None
            if changed.shape != images.shape:
                size = "x".join(map(str, changed.shape[1:]))
                raise UserError(f"{what} would become {size}; choose arguments that keep the size")


def build_operation(entry: AugmentationOperation) -> nn.Module:
    """Build an operation of kornia.

    Raises:
        UserError: There is no such operation, it is refused, or it does not take the arguments.
    """
    cls = find_operation(entry.name)
    parameters = inspect.signature(cls).parameters
    for name in entry.arguments:
        if name not in parameters:
            raise unknown(f"argument of augmentation {entry.name}:", name, parameters)
    for name, parameter in parameters.items():
        if name not in entry.arguments and _is_required(parameter):
            raise UserError(f"augmentation {entry.name} needs the argument '{name}'")
    types = get_type_hints(cls.__init__)
    arguments = {
        name: torch.tensor(value) if types.get(name) is Tensor else _with_tuples(value)
        for name, value in entry.arguments.items()
    }
    try:
        return cls(**arguments)
    except Exception as error:  # noqa: BLE001 - kornia refuses arguments, too, by any type
        raise UserError(f"augmentation {entry}: {_text(error)}") from None


def find_operation(name: str) -> type[nn.Module]:
    """Return the class of an operation.

    Raises:
        UserError: There is none of this name, or it is refused.
    """
    cls = vars(kornia_augmentation).get(name)
    if inspect.isclass(cls):
        for refused, reason in REFUSED:
            if issubclass(cls, refused):
                raise UserError(f"augmentation {name} {reason}")
    known = operations()
    if name not in known:
        raise unknown("augmentation", name, known)
    return known[name]


@cache
def operations() -> dict[str, type[nn.Module]]:
    """Return kornia's augmentations of single images and its policies, by name."""
    classes = {**vars(kornia_augmentation), **vars(auto)}
    return {
        name: cls
        for name, cls in classes.items()
        if inspect.isclass(cls)
        and issubclass(cls, (AugmentationBase2D, PolicyAugmentBase))
        and not issubclass(cls, (Normalize, Denormalize))
        and "Base" not in name  # the abstract ones
    }


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD


def _with_tuples(value: Any) -> Any:
    """Return a value of JSON with tuples for lists, which some operations insist on."""
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _text(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
