"""Example images at each view of a benchmark's grid, for its page."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from capsbench.measures import AccuracyByView
from capsbench.records import write_npz
from capsbench.running.plan import Cell
from capsbench.schema import Benchmark
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

COUNT = 5


def write_examples(
    benchmark: Benchmark, cell: Cell, folder: Path, data_root: Path | None
) -> dict[str, Any] | None:
    """Write ``examples.npz``: the first test image of some classes at each view of the grid.

    Args:
        benchmark: The protocol, with its grid.
        cell: One of its cells; all have the same data.
        folder: The benchmark's folder.
        data_root: Folder of data files at hand.

    Returns:
        What the images show: the views (with whether each is familiar) and the classes; None
        where no measure has a grid.
    """
    grids = [entry.grid for entry in benchmark.measures if isinstance(entry, AccuracyByView)]
    views = list(dict.fromkeys(chain(*(grid.views() for grid in grids))))
    if not views:
        return None
    split = cell.build_data(data_root).split("test")
    classes = torch.unique(split.targets)[:COUNT]
    firsts = torch.stack([(split.targets == label).nonzero()[0, 0] for label in classes])
    images = split.images[firsts].float()
    matrices = Views.of_grid(views).matrices(*images.shape[-2:])
    seen = torch.stack([warp(images, matrix[None]) for matrix in matrices])
    write_npz(folder / "examples.npz", {"images": seen.round().numpy().astype(np.uint8)})
    return {
        "views": [{**view._asdict(), "familiar": benchmark.views.familiar(view)} for view in views],
        "classes": classes.tolist(),
    }
