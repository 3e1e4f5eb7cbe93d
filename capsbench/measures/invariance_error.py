"""Invariance error of layers."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.measures._activations import choose_layers
from capsbench.measures._config import LayerMeasureConfig
from capsbench.measures._errors_by_view import Pair, error_metrics, errors_by_view
from capsbench.measures._figures import LayerFigureSpec, LineSpec
from capsbench.measures._measure import Measure, MeasureContext
from capsbench.measures._result import MeasureResult
from capsbench.viewpoint.grid import GridView


class InvarianceErrorConfig(LayerMeasureConfig):
    """Arguments of the invariance error; see `LayerMeasureConfig`."""

    measure: Literal["invariance-error"]


class InvarianceError(Measure[InvarianceErrorConfig]):
    """Change of a layer's features under a view, relative to the distance between images.

    The error is √E d²(f(Tx), f(x)) over the geometric mean of √E d²(f(x), f(x′)) and
    √E d²(f(Tx), f(Tx′)), d the Euclidean distance and x′ another image: 0 if f(Tx) = f(x), 1 if the
    view changes as much as another image does. Layers of any kind count as one vector per image.
    Values are by layer and view, by layer and factor, and by layer over all views; see
    `capsbench.metrics.invariance.invariance_error`.
    """

    config = InvarianceErrorConfig
    revision = 2
    controlled = True  # random features blur, and change less than pixels
    outputs = ()  # only layers
    source = "the article, equation 0"
    metrics = error_metrics(
        "invariance",
        "√E d²(f(Tx), f(x)) divided by the geometric mean of √E d²(f(x), f(x′)) and "
        "√E d²(f(Tx), f(Tx′)).",
    )
    figures: ClassVar = (
        LayerFigureSpec(
            name="invariance",
            title="Invariance error",
            axis="error",
            lines=(
                LineSpec("invariance_error", "relative to other images"),
                LineSpec("invariance_class_error", "relative to images of the same class"),
            ),
            references=(0.0, 1.0),
            caption=(
                "The change of a layer's features f when the image x is transformed. At 0 nothing "
                "changes: f(Tx) = f(x). At 1 the transformed image is as far away as another "
                "image, above 1 even farther. The error is √E d²(f(Tx), f(x)) divided by the "
                "geometric mean of √E d²(f(x), f(x′)) and √E d²(f(Tx), f(Tx′)), where d is the "
                "Euclidean distance and x′ another image. Features that are all equal therefore do "
                "not count as invariant. Over the views of the grid, mean squares are averaged. "
                "Source: the article's equation 0."
            ),
        ),
    )

    @classmethod
    @torch.inference_mode()
    def compute(
        cls,
        config: InvarianceErrorConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compute the errors; see `errors_by_view`."""
        layers = choose_layers(model, config.layers)
        return errors_by_view(_as_vectors, layers, config, model, data, context)


def _as_vectors(_view: GridView, _layer: str, f_x: Tensor, f_gx: Tensor) -> dict[str, Pair]:
    return {"invariance": (f_x, f_gx)}
