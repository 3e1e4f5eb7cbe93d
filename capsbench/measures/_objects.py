"""The object that each image shows; images of one object are not independent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from capsbench.data.images import ImageDataModule
from capsbench.measures._result import Array, index_name, object_name

INDEX, OBJECT = index_name(), object_name()


def with_objects(per_image: Mapping[str, Array], data: ImageDataModule) -> dict[str, Array]:
    """Add the object of each image to the arrays of a measure.

    Args:
        per_image: Arrays by name; those named by `index_name` hold the numbers of test images in
            their source.
        data: The data module.

    Returns:
        The same arrays; and for each index, under `object_name`, a number for the object that each
        image shows, if the set distinguishes objects.
    """
    arrays = dict(per_image)
    test = data.split("test")
    if "instance" not in test.factors:
        return arrays
    labels = torch.stack([test.targets, test.factors["instance"].long()], dim=1)
    objects = labels.unique(dim=0, return_inverse=True)[1].numpy()
    order = np.argsort(test.index.numpy())
    numbers, objects = test.index.numpy()[order], objects[order]
    for name, index in per_image.items():
        base, bracket, split = name.partition("[")
        if base == INDEX:
            arrays[f"{OBJECT}{bracket}{split}"] = objects[np.searchsorted(numbers, index)]
    return arrays
