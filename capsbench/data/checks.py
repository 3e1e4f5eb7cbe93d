"""Checks of the splits that a data module returns, so that wrong ones are not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from capsbench.data.batches import Split
from capsbench.errors import UserError


def require_valid_split(
    split: Split,
    what: str,
    *,
    channels: int,
    class_names: Sequence[str],
    num_classes: int,
    factors: Sequence[str],
) -> None:
    """Refuse a split whose tensors do not have the shapes, types and values of `Split`.

    Args:
        split: The split, as it was loaded.
        what: Its name, for messages.
        channels: C, of ``image_shape``.
        class_names: Names of the classes.
        num_classes: Number of classes.
        factors: Factors that are recorded.

    Raises:
        UserError: A tensor does not fit, there is no image, two images have one number, or the
            classes do not have one name each.
    """
    count, images = len(split.images), split.images
    if len({*class_names}) != num_classes or len(class_names) != num_classes:
        raise UserError(
            f"{what} have {num_classes} classes; expected as many different names, got "
            f"{len(class_names)}: {', '.join(class_names[:10])}"
        )
    if not count:
        raise UserError(f"{what}: expected images, got none")
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != channels:
        raise _wrong(what, "images", f"uint8 of shape (N, {channels}, H, W)", images)
    _require_rows(what, "targets", split.targets, count, integers=True)
    low, high = int(split.targets.min()), int(split.targets.max())
    if low < 0 or high >= num_classes:
        raise UserError(
            f"{what}: expected targets from 0 to {num_classes - 1}, got {low} to {high}"
        )
    _require_rows(what, "index", split.index, count, integers=True)
    if int(split.index.min()) < 0 or len(split.index.unique()) < count:
        raise UserError(
            f"{what}: expected numbers from 0 on in index, each once, because they select the "
            "views of evaluation; got a negative one or one twice"
        )
    if missing := [name for name in factors if name not in split.factors]:
        raise UserError(f"{what}: expected the recorded {', '.join(missing)} in factors, got none")
    for name, values in split.factors.items():
        _require_rows(what, name, values, count)
        if not values.isfinite().all():
            raise UserError(f"{what}: expected finite numbers in {name}, got some that are not")
    masks, expected = split.masks, (count, 1, *images.shape[2:])
    if masks is not None and (masks.dtype != torch.uint8 or masks.shape != expected):
        raise _wrong(what, "masks", f"uint8 of shape {expected}", masks)
    if split.poses is not None and len(split.poses) != count:
        raise _wrong(what, "poses", f"a row for each of {count} images", split.poses)


def _require_rows(
    what: str, name: str, values: Tensor, count: int, *, integers: bool = False
) -> None:
    if values.shape != (count,) or (integers and values.dtype != torch.int64):
        kind = "int64" if integers else "numbers"
        raise _wrong(what, name, f"{kind} of shape ({count},)", values)


def _wrong(what: str, name: str, expected: str, values: Tensor) -> UserError:
    got = f"{str(values.dtype).removeprefix('torch.')} of shape {tuple(values.shape)}"
    return UserError(f"{what}: expected {name} as {expected}, got {got}")
