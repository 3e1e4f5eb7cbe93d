"""Rows of group ``sweep``: accuracy by view, relative to its forward passes alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from capsbench.contracts import ImageShape, Model
from capsbench.data.images import ImageDataModule
from capsbench.measures import MeasureContext
from capsbench.measures.accuracy_by_view import AccuracyByView, AccuracyByViewConfig
from capsbench.names import find
from capsbench.profiling.model_cost import model_cost
from capsbench.speed.images import noise_images
from capsbench.speed.rows import Comparison, Row, Work
from capsbench.viewpoint.grid import ViewGrid
from capsbench.viewpoint.spread import Sweep
from capsbench.wrapping import model_class


@dataclass(frozen=True)
class SweepSizes:
    """Sizes of the sweep over views.

    Attributes:
        models: Names of the models.
        image_shape: (C, H, W).
        images: Number of test images.
        rotations: Start, stop and step of the rotations in degrees.
    """

    models: tuple[str, ...] = ("capsnet-dr", "cnn-small")
    image_shape: ImageShape = (1, 28, 28)
    images: int = 200
    rotations: tuple[float, float, float] = (0, 30, 30)


def comparisons(device: str, sizes: SweepSizes) -> list[Comparison]:
    """Compare for each model the sweep over a grid; times are for all views of all images."""
    return [_comparison(device, name, sizes) for name in sizes.models]


def _comparison(device: str, name: str, sizes: SweepSizes) -> Comparison:
    start, stop, step = sizes.rotations
    grid = ViewGrid(rotation=Sweep(start=start, stop=stop, step=step))
    config = AccuracyByViewConfig(measure="accuracy-by-view", grid=grid)
    torch.manual_seed(0)
    cls = model_class(find("models", name))
    model = cls(image_shape=sizes.image_shape, num_classes=10).eval()
    flops = model_cost(model).flops * sizes.images * len(grid)
    data = noise_images(
        sizes.image_shape, num_classes=10, count=sizes.images, batch_size=sizes.images
    )
    rows = (
        Row("forward passes alone", partial(_forward, device, model, data, grid), flops=flops),
        Row("accuracy by view", partial(_sweep, device, model, data, config), flops=flops),
    )
    return Comparison(f"{name}, {len(grid)} views of {sizes.images} images", rows)


def _forward(device: str, model: Model, data: ImageDataModule, grid: ViewGrid) -> Work:
    batches = [
        batch.images
        for view in grid.views()
        for batch in data.evaluation.batches("test", device, view)
    ]
    model.to(device)

    @torch.inference_mode()
    def work() -> None:
        for images in batches:
            model(images)

    return work


def _sweep(device: str, model: Model, data: ImageDataModule, config: AccuracyByViewConfig) -> Work:
    model.to(device)

    def work() -> None:
        AccuracyByView.compute(config, model, data, MeasureContext(device))

    return work
