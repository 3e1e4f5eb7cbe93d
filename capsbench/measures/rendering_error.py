"""Measure ``rendering-error``: error of images that a model renders from given views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.data.randomness import views_by_index
from capsbench.measures import (
    Measure,
    MeasureConfig,
    MeasureContext,
    MeasureResult,
    Name,
    ValueSpec,
    index_name,
)
from capsbench.measures._result import Array
from capsbench.values import Quantity, Value
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.warp import warp

EXAMPLES = 10  # images that are kept, spread evenly over the test images


class RenderingErrorConfig(MeasureConfig):
    """Arguments of `RenderingError`.

    Attributes:
        views: Ranges of views by a name of their choice, such as ``shift``.
    """

    measure: Literal["rendering-error"]
    views: dict[Name, ViewRange] = Field(min_length=1)

    @property
    def required_views(self) -> list[GridView | ViewRange]:
        """The ranges."""
        return list(self.views.values())

    @property
    def num_progress_steps(self) -> int:
        """One step per range."""
        return len(self.views)


class RenderingError(Measure[RenderingErrorConfig]):
    """Error of every test image as a model renders it from a random view of a range.

    The model gets each test image at its familiar view, and the view from which to render it. All
    errors are squared differences of pixels in [0, 1], averaged over pixels and images. A model
    that renders nothing has no rendering error; one that renders but ignores views is measured like
    any other. In a range of no views, ``{}``, it is the error of a plain reconstruction.

    Further per-image array, of each range: ``renderings`` (K, 3, C, H, W) uint8, some test images,
    what is expected of each, and what the model renders; ``rendered`` (K,), their places among the
    N images.
    """

    config = RenderingErrorConfig
    revision = 2
    outputs = ("reconstruction",)
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "rendering_error": ValueSpec("Error of the image that the model renders.", "squared error"),
        "copy_error": ValueSpec("Control: error of the untransformed image.", "squared error"),
        "constant_error": ValueSpec(
            "Control: error of the mean of all transformed images, the best constant image.",
            "squared error",
        ),
        "error_relative_to_copy": ValueSpec(
            "Rendering error divided by copy error; missing if the views change nothing.", "ratio"
        ),
    }

    @classmethod
    @torch.inference_mode()
    def compute(
        cls,
        config: RenderingErrorConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compute the measure; see `Measure.compute`."""
        values: list[Value] = []
        per_image: dict[str, Array] = {index_name(): data.split("test").index.numpy()}
        for name, ranges in config.views.items():
            numbers, arrays = _errors(name, ranges, model, data, context.device)
            n = len(per_image[index_name()])
            for metric, number in numbers.items():
                values.append(Quantity(metric=metric, split=name).with_value(number, n))
            for array_name, array in arrays.items():
                per_image[f"{array_name}[split={name}]"] = array
            context.advance()
        return MeasureResult(values, per_image)


def _errors(
    name: str, ranges: ViewRange, model: Model, data: ImageDataModule, device: str
) -> tuple[dict[str, float], dict[str, Array]]:
    """Return the errors for a range of views by metric, those of each image, (N,), and examples.

    The errors of the control have a name that is no quantity: models are not compared by them.
    """
    rendered, copied, squares = list[Tensor](), list[Tensor](), list[Tensor]()
    number = len(data.split("test").index)
    chosen = np.linspace(0, number - 1, min(EXAMPLES, number), dtype=np.int64)
    examples, begin = list[Tensor](), 0
    total = torch.zeros(data.image_shape, dtype=torch.float64)
    for batch in data.evaluation.batches("test", device):
        views = views_by_index(ranges, batch.index, "views to render", name)
        expected = warp(batch.images, views.matrices(*batch.images.shape[-2:]))
        rendering = model(batch.images, views).reconstruction
        if rendering is not None:
            rendered.append(_squared_error(rendering, expected))
            rows = torch.from_numpy(chosen - begin)
            rows = rows[(rows >= 0) & (rows < len(expected))].to(expected.device)
            examples.append(torch.stack([batch.images, expected, rendering.float()], 1)[rows])
        copied.append(_squared_error(batch.images, expected))
        squares.append(_squared_error(torch.zeros_like(expected), expected))
        total += expected.cpu().double().sum(dim=0)
        begin += len(expected)
    per_image: dict[str, Array] = {"copied": _concatenate(copied)}
    constant = total / len(per_image["copied"])
    numbers = {
        "copy_error": float(per_image["copied"].mean()),
        "constant_error": float(_concatenate(squares).mean() - constant.square().mean()),
    }
    if rendered:
        per_image["rendering_error"] = _concatenate(rendered)
        per_image["renderings"] = _as_uint8(torch.cat(examples))
        per_image["rendered"] = chosen
        numbers["rendering_error"] = float(per_image["rendering_error"].mean())
        if numbers["copy_error"]:
            ratio = numbers["rendering_error"] / numbers["copy_error"]
            numbers["error_relative_to_copy"] = ratio
    return numbers, per_image


def _squared_error(images: Tensor, expected: Tensor) -> Tensor:
    """Return (B,), the squared difference averaged over the pixels of each image."""
    return (images.float() - expected).square().mean(dim=(1, 2, 3))


def _concatenate(parts: list[Tensor]) -> NDArray[np.float64]:
    joined: NDArray[np.float64] = torch.cat(parts).cpu().double().numpy()
    return joined


def _as_uint8(images: Tensor) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = (images.nan_to_num().clamp(0, 1) * 255).round().byte().cpu().numpy()
    return pixels
