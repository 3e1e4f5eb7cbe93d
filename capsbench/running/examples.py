"""Example images at each view of a benchmark's grid, for its page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from capsbench.data.images import ImageDataModule
from capsbench.measures import AccuracyByView, MeasureEntry
from capsbench.records import write_npz
from capsbench.schema import Benchmark
from capsbench.viewpoint.grid import GridView

COUNT = 5


def require_asked(measures: Sequence[MeasureEntry], data: ImageDataModule) -> None:
    """Refuse measures that ask for test images that there are not, before anything is trained.

    Raises:
        UserError: A split or a view that a measure asks for has no image.
    """
    for entry in measures:
        for split in entry.tested:
            data.split(split)
        for at in entry.asked:
            data.view_rows("test", at)


def write_examples(benchmark: Benchmark, data: ImageDataModule, folder: Path) -> dict[str, Any] | None:
    """Write ``examples.npz``: the first test image of some classes at each view of the grid.

    Args:
        benchmark: The protocol, with its grid.
        data: Its data module.
        folder: The benchmark's folder.

    Returns:
        What the images show: the views (with whether each is familiar) and the classes; None
        where no measure has a grid.
    """
    grids = [entry.grid for entry in benchmark.measures if isinstance(entry, AccuracyByView)]
    views = list(dict.fromkeys(chain(*(grid.views() for grid in grids))))
    if not views:
        return None
    classes = torch.unique(data.split("test").targets)[:COUNT]
    images = torch.stack([_examples(data, view, classes) for view in views])
    write_npz(folder / "examples.npz", {"images": images.numpy()})
    return {
        "views": [
            {
                "factor": view.factor,
                "value": view.value,
                "familiar": benchmark.views.familiar(view),
            }
            for view in views
        ],
        "classes": [data.class_names[label] for label in classes.tolist()],
    }


def _examples(data: ImageDataModule, view: GridView, classes: Tensor) -> Tensor:
    """(K, C, H, W) uint8, the first image of each class at a view; black where there is none."""
    split, rows = data.split("test"), data.view_rows("test", view)
    at_hand = split.targets[rows] == classes[:, None]
    firsts = rows[at_hand.int().argmax(dim=1)]
    seen = data.get_batch("test", firsts, view).images
    shown = seen * at_hand.any(dim=1)[:, None, None, None]
    return (255 * shown).round().to(torch.uint8)
