"""Test images that measures need, and the example images of a benchmark's page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor
from torch.nn import functional as F

from capsbench.data.images import ImageDataModule
from capsbench.files.atomic import is_present, write_npz
from capsbench.measures import MeasureConfig
from capsbench.measures.accuracy_by_view import AccuracyByViewConfig
from capsbench.records import BenchmarkFolder
from capsbench.records.benchmark import CellList, ExampleList, ExampleView
from capsbench.records.cell_files import file_sha256
from capsbench.running.cell import Cell
from capsbench.schema import Benchmark
from capsbench.viewpoint.grid import GridView

NUM_CLASSES, PER_CLASS = 10, 10  # at most


def require_images(measures: Sequence[MeasureConfig], data: ImageDataModule) -> None:
    """Check, before anything is trained, that the data has test images for every measure.

    Raises:
        UserError: A split or a view of a measure has no image.
    """
    for config in measures:
        for split in config.required_splits:
            data.split(split)
        for view in config.required_views:
            data.evaluation.view_rows("test", view)


def recorded_examples(folder: BenchmarkFolder, cell: Cell) -> ExampleList | None:
    """Return the examples of a benchmark's record, if they are those of a cell and are unchanged.

    The names of a training and of its measures determine the images and the views.

    Args:
        folder: The benchmark's folder.
        cell: The first cell of the benchmark.
    """
    if not is_present(folder.record) or not is_present(folder.examples):
        return None
    recorded = CellList.load(folder.record)
    if recorded.cells[:1] != (cell.reference,) or recorded.examples is None:
        return None
    if not recorded.examples.numbers:
        return None
    return recorded.examples if file_sha256(folder.examples) == recorded.examples.sha256 else None


def write_examples(
    benchmark: Benchmark, data: ImageDataModule, folder: BenchmarkFolder
) -> ExampleList | None:
    """Write ``examples.npz``: the first test images of some classes at each view of the grid.

    Args:
        benchmark: The protocol, with its grid.
        data: Its data module.
        folder: The benchmark's folder.

    Returns:
        The views and classes of the images; None if no measure has a grid.
    """
    grids = [entry.grid for entry in benchmark.measures if isinstance(entry, AccuracyByViewConfig)]
    views = list(dict.fromkeys(chain(*(grid.views() for grid in grids))))
    if not views:
        return None
    known = torch.unique(data.split("test").targets)[:NUM_CLASSES]
    classes = known.repeat_interleave(PER_CLASS)
    drawn = [_first_of_each_class(data, view, known) for view in views]
    write_npz(folder.examples, {"images": torch.stack([images for images, _ in drawn]).numpy()})
    sha256 = file_sha256(folder.examples)
    return ExampleList(
        views=tuple(
            ExampleView(
                factor=view.factor, value=view.value, familiar=benchmark.views.familiar(view)
            )
            for view in views
        ),
        classes=tuple(data.class_names[label] for label in classes.tolist()),
        sha256=sha256,
        numbers=tuple(tuple(numbers.tolist()) for _, numbers in drawn),
        class_names=tuple(data.class_names),
    )


def _first_of_each_class(
    data: ImageDataModule, view: GridView, classes: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the first images of each class at a view, and their numbers in the source.

    Returns:
        (K, C, H, W) uint8, black if a class has no further image; (K,), -1 for these.
    """
    split, rows = data.split("test"), data.evaluation.view_rows("test", view)
    is_class = split.targets[rows] == classes[:, None]
    order = is_class.int().argsort(dim=1, descending=True, stable=True)[:, :PER_CLASS]
    missing = PER_CLASS - order.shape[1]  # of a view with few images
    exists = F.pad(is_class.gather(1, order), (0, missing)).flatten()
    order = F.pad(order, (0, missing))
    firsts = rows[order.flatten()]
    images = data.evaluation.get_batch("test", firsts, view).images
    visible = images * exists[:, None, None, None]
    numbers = torch.where(exists, split.index[firsts], -1)
    return (255 * visible).round().to(torch.uint8), numbers
