"""Rows of group ``data``: loading of warped training images onto the model's device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from capsbench.contracts import ImageShape
from capsbench.speed.images import VIEWS, noise_images
from capsbench.speed.rows import Comparison, Row, Work
from capsbench.viewpoint.ranges import ViewRange

TILTED = ViewRange.model_validate(VIEWS.model_dump() | {"tilt_x": [-15, 15], "tilt_y": [-15, 15]})


@dataclass(frozen=True)
class DataSizes:
    """Sizes of the loaded data.

    Attributes:
        shapes: (C, H, W) of the images of each comparison.
        batch_size: Images in a batch.
        batches: Batches of an epoch; an epoch is timed as a whole.
        workers: Worker processes of torchvision's pipeline.
    """

    shapes: tuple[ImageShape, ...] = ((1, 28, 28), (1, 96, 96))
    batch_size: int = 128
    batches: int = 16
    workers: int = 2


def comparisons(device: str, sizes: DataSizes) -> list[Comparison]:
    """Compare random rotations and shifts of images in memory; times are per batch."""
    return [_comparison(device, shape, sizes) for shape in sizes.shapes]


def _comparison(device: str, shape: ImageShape, sizes: DataSizes) -> Comparison:
    pixels = sizes.batch_size * math.prod(shape)
    # One byte per pixel is read and four are written. Memory of worker processes is not measured.
    row = partial(Row, bytes=5 * pixels, units=sizes.batches)
    rows = (
        row(
            f"torchvision, {sizes.workers} workers",
            partial(_torchvision, device, shape, sizes),
            measures_memory=False,
        ),
        row("affine_grid and grid_sample", partial(_grid_sample, device, shape, sizes)),
        row("capsbench", partial(_capsbench, device, shape, sizes, VIEWS)),
        row("capsbench, also tilted", partial(_capsbench, device, shape, sizes, TILTED)),
    )
    return Comparison(f"{sizes.batch_size} warped images of {shape[1]} x {shape[2]}", rows)


def _capsbench(device: str, shape: ImageShape, sizes: DataSizes, views: ViewRange) -> Work:
    count = sizes.batch_size * sizes.batches
    data = noise_images(
        shape, num_classes=10, count=count, batch_size=sizes.batch_size, views=views
    )
    loader, torch_device = data.train_dataloader(), torch.device(device)

    def work() -> None:
        for stored in loader:
            data.on_after_batch_transfer(stored.to(torch_device), 0)

    return work


def _grid_sample(device: str, shape: ImageShape, sizes: DataSizes) -> Work:
    """Prepare a minimal loop with random rotations and shifts."""
    count = sizes.batch_size * sizes.batches
    images = torch.randint(256, (count, *shape), dtype=torch.uint8)
    targets = torch.arange(count) % 10

    def work() -> None:
        for rows in torch.randperm(count).split(sizes.batch_size):
            batch = images[rows].to(device, non_blocking=True).float().div_(255)
            targets[rows].to(device, non_blocking=True)
            theta = _random_theta(len(rows), shape).to(device)
            grid = F.affine_grid(theta, list(batch.shape), align_corners=False)
            F.grid_sample(batch, grid, mode="bilinear", align_corners=False)

    return work


def _random_theta(count: int, shape: ImageShape) -> Tensor:
    """Draw rotations and shifts (count, 2, 3) in the convention of `affine_grid`."""
    (low, high), (left, right) = VIEWS.rotation.limits, VIEWS.shift.limits
    angle = torch.empty(count).uniform_(low, high).deg2rad()
    shift = torch.empty(count, 2).uniform_(left, right) / torch.tensor([shape[2], shape[1]]) * 2
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], dim=-1).view(-1, 2, 3)


class _PerImage(Dataset[tuple[Tensor, int]]):
    """Images one by one via PIL, as in torchvision's data sets."""

    def __init__(self, images: Tensor) -> None:
        from torchvision import transforms

        self.images = images
        height, width = images.shape[-2:]
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomAffine(
                    degrees=VIEWS.rotation.limits,
                    translate=(VIEWS.shift.limits[1] / width, VIEWS.shift.limits[1] / height),
                    interpolation=transforms.InterpolationMode.BILINEAR,
                ),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), index % 10


def _torchvision(device: str, shape: ImageShape, sizes: DataSizes) -> Work:
    images = torch.randint(256, (sizes.batch_size * sizes.batches, *shape), dtype=torch.uint8)
    loader = DataLoader(
        _PerImage(images),
        batch_size=sizes.batch_size,
        shuffle=True,
        num_workers=sizes.workers,
        persistent_workers=sizes.workers > 0,
        pin_memory=device == "cuda",
    )

    def work() -> None:
        # A whole epoch: at its end the workers are idle and do not slow the other rows down.
        for batch, targets in loader:
            batch.to(device, non_blocking=True)
            targets.to(device, non_blocking=True)

    return work
