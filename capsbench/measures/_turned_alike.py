"""Accuracy if classes that a half turn makes alike count as one class, as 6 and 9 do.

Upside down, most of the 6s are 9s: beyond a quarter turn the label of such an image does not say
what it shows. A model without any error of its own then counts as wrong for a fifth of the digits.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from capsbench.contracts import predicted_classes
from capsbench.data.images import ImageDataModule
from capsbench.measures._measure import ValueSpec
from capsbench.values import MERGED_ACCURACY, Quantity
from capsbench.viewpoint.joint import SweptView
from capsbench.viewpoint.ranges import ViewRange

MERGED = ValueSpec(
    "Accuracy if classes that a half turn makes alike count as one class, those of the condition, "
    "in images that are turned further than a quarter.",
    "share",
)
QUARTER = 90.0  # degrees


def turns_further(view: SweptView) -> bool:
    """Check that a view turns images by more than a quarter, to either side."""
    angles = [each.value for each in view.components if each.factor == "rotation"]
    return bool(is_turned_further(torch.tensor(angles)).any())


def is_turned_further(rotation: Tensor) -> Tensor:
    """Return True for each angle in degrees that is more than a quarter turn, to either side."""
    return ((rotation + 180) % 360 - 180).abs() > QUARTER


def reaches_further(views: ViewRange) -> bool:
    """Check that a range of views turns some images by more than a quarter."""
    low, high = views.rotation.limits
    return low < -QUARTER or high > QUARTER


def merged_quantity(accuracy: Quantity, data: ImageDataModule) -> Quantity:
    """Return the quantity beside an accuracy, with the merged classes as a condition."""
    groups = [" and ".join(data.class_names[k] for k in group) for group in data.turned_alike]
    condition = accuracy.condition | {"classes": ", ".join(groups)}
    return accuracy.model_copy(update={"metric": MERGED_ACCURACY, "condition": condition})


def is_correct_merged(
    logits: Tensor, targets: Tensor, rotation: Tensor, groups: Iterable[tuple[int, ...]]
) -> Tensor:
    """Return (B,) bool, True if the most likely class is the target, or in one group with it.

    The classes of a group differ in images that are turned by at most a quarter, where only the
    target itself is correct.

    Args:
        logits: (B, K); if any is NaN, no class is predicted.
        targets: (B,) class indices.
        rotation: (B,) degrees by which each image is turned.
        groups: Classes that count as one.
    """
    alike = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    for group in groups:
        rows = torch.tensor(group, device=logits.device)
        alike[rows[:, None], rows] = True
    predicted = predicted_classes(logits, targets)
    exact = predicted.gather(1, targets[:, None]).squeeze(1)
    merged = (predicted & alike[targets]).any(dim=1)
    return torch.where(is_turned_further(rotation), merged, exact)
