"""Which object each image shows: images of one toy are no independent witnesses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from capsbench.data.images import ImageDataModule
from capsbench.measures._result import INDEX, OBJECT


def with_objects(samples: Mapping[str, NDArray[Any]], data: ImageDataModule) -> dict[str, NDArray[Any]]:
    """Samples of a measure, with the object of each image beside its number.

    Args:
        samples: Arrays by name; those named ``index``, or ``<split>/index``, hold the numbers of
            test images in their source.
        data: The data module.

    Returns:
        The same, and beside each such array one named ``object``, with a number for each object,
        where the set tells its objects apart.
    """
    found = dict(samples)
    test = data.split("test")
    if "instance" not in test.factors:
        return found
    kinds = torch.stack([test.targets, test.factors["instance"].long()], dim=1)
    objects = kinds.unique(dim=0, return_inverse=True)[1].numpy()
    order = np.argsort(test.index.numpy())
    numbers, objects = test.index.numpy()[order], objects[order]
    for name, index in samples.items():
        if name.rpartition("/")[2] == INDEX:
            found[name.removesuffix(INDEX) + OBJECT] = objects[np.searchsorted(numbers, index)]
    return found
