"""Spatial equivariance error of feature maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from capsbench.contracts import LayerOfInterest, Model
from capsbench.data.images import ImageDataModule
from capsbench.measures._activations import PIXELS, capture_activations, choose_layers
from capsbench.measures._config import WarpMeasureConfig
from capsbench.measures._errors_by_view import Pair, error_metrics, errors_by_view
from capsbench.measures._figures import LayerFigureSpec, LineSpec
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._layer_transforms import LayerTransforms, has_positions
from capsbench.measures._measure import Measure, MeasureContext, ValueSpec
from capsbench.measures._nonfinite import drop_nonfinite
from capsbench.measures._observations import unobserved
from capsbench.measures._paired_activations import identity_view
from capsbench.measures._pose_fits import PoseFits, num_held_out
from capsbench.measures._result import MeasureResult, index_name
from capsbench.measures._warped_maps import BORDERS
from capsbench.representations import SpatialMap
from capsbench.viewpoint.grid import GridView

NO_POSITIONS = "it is not a map"
NO_STRIDE = "its stride is not known: name it in the model's layers_of_interest()"


class SpatialEquivarianceConfig(WarpMeasureConfig):
    """Arguments of the spatial equivariance error; layers without positions are left out."""

    measure: Literal["spatial-equivariance"]


class SpatialEquivariance(Measure[SpatialEquivarianceConfig]):
    """Difference between the map of a moved image and the moved map, f(Tx) and T f(x).

    The error is that of the invariance error with T f(x) in place of f(x): 0 if the map moves as
    the image does, 1 if the two differ as the maps of different images do. T moves the positions of
    a map as it moves the pixels at their centres, and is interpolated bilinearly; the interpolation
    error is that of a map that is warped and warped back, of which an equivariant map has about
    half. Maps are those of convolutions, and the presences and poses of capsules at positions.

    Poses also turn with the image. So for each view one affine map of the pose, the same at all
    positions, is fitted to other images; the pose error is what it leaves of the spatial error. See
    `capsbench.metrics.pose_equivariance.PoseFit`.
    """

    config = SpatialEquivarianceConfig
    revision = 3
    controlled = True  # a convolution moves with the image for any weights
    outputs = ()  # only layers
    source = "the article, equation 3"
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        **error_metrics(
            "spatial",
            "√E d²(f(Tx), T f(x)) divided by the geometric mean of √E d²(T f(x), T f(x′)) and "
            "√E d²(f(Tx), f(Tx′)), over the positions that stay within the map.",
        ),
        **error_metrics(
            "interpolation", "The same error of a map f(x) and f(x) warped by T and back."
        ),
        "explained": ValueSpec(
            "1 − E|f(Tx) − A T f(x)|² / E|f(Tx) − T f(x)|² of poses on held-out images, A the "
            "affine map of poses."
        ),
        "shuffled_explained": ValueSpec(
            "The same with A fitted to poses of other images at the same positions, the control."
        ),
        "gain_over_control": ValueSpec(
            "1 − E|f(Tx) − A T f(x)|² over the smaller error of the two controls: no change, and "
            "the map fitted to other images."
        ),
        "distance_from_identity": ValueSpec(
            "Mean over types of capsules of |A − I| / √d, d the numbers of a pose."
        ),
        "pose_error": ValueSpec("The spatial error times √(1 − explained)."),
    }
    figures: ClassVar = (
        LayerFigureSpec(
            name="spatial-equivariance",
            title="Spatial equivariance error",
            axis="error",
            lines=(
                LineSpec("spatial_error", "error"),
                LineSpec("pose_error", "error with a fitted map of poses"),
                LineSpec("interpolation_error", "moved forth and back", control=True),
            ),
            references=(0.0, 1.0),
            caption=(
                "The difference between the feature map of a moved image and the moved feature map "
                "of the image: f(Tx) = T f(x) at 0; at 1 the two maps differ like the maps of "
                "different images. The control is the loss when the map itself is moved forth and "
                "back. That interpolates twice, so a perfect map would have half of this error. "
                "The definition is that of the invariance error with T f(x) in place of f(x). T "
                "acts on the map's own grid; positions that leave it are excluded. Poses of "
                "capsules also change their own values, so one affine map of the pose, the same at "
                "all positions, is fitted to other images. Source: the article's equation 3."
            ),
        ),
    )

    @classmethod
    @torch.inference_mode()
    def compute(
        cls,
        config: SpatialEquivarianceConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compute the errors and the fits of poses; see `errors_by_view` and `PoseFits`."""
        candidates = choose_layers(model, config.layers)
        problems = _problems(model, candidates, data, context.device)
        layers = {name: layer for name, layer in candidates.items() if name not in problems}
        transforms = LayerTransforms(
            layers,
            dict.fromkeys(layers, SpatialMap()),
            (data.image_shape[1], data.image_shape[2]),
            config.margin,
        )

        def compare(view: GridView, name: str, f_x: Tensor, f_gx: Tensor) -> dict[str, Pair]:
            return {
                "spatial": transforms.pair(view, name, f_x, f_gx),
                "interpolation": transforms.round_trip(view, name, f_x),
            }

        poses = [name for name, layer in layers.items() if layer.kind == "pose"]
        fits = PoseFits(poses, transforms.fibres)
        result = errors_by_view(compare, layers, config, model, data, context, fits)
        n = num_held_out(result.per_image[index_name()])
        fitted = fits.values_with_errors(
            result.values, error="spatial_error", remaining="pose_error"
        )
        values, undefined = drop_nonfinite((quantity, value, n) for quantity, value in fitted)
        notes = tuple(f"{name} is left out: {problem}" for name, problem in problems.items())
        if not config.margin:
            notes += (BORDERS,)
        return MeasureResult(
            [*result.values, *values], result.per_image, notes + tuple(result.notes) + undefined
        )


def _problems(
    model: Model, layers: Mapping[str, LayerOfInterest], data: ImageDataModule, device: str
) -> dict[str, str]:
    """Return the reasons why layers cannot be warped as maps, by layer, from one image."""
    with_known_stride = {PIXELS, *model.layers_of_interest()}
    batch = next(familiar_batches(data, device, subset_rows(data, 1), identity_view()))
    with unobserved(), capture_activations(model, layers) as outputs:
        model(batch.images)
    problems = {}
    for name, layer in layers.items():
        if not has_positions(layer, outputs[name]):
            problems[name] = NO_POSITIONS
        elif name not in with_known_stride and outputs[name].shape[-2:] != batch.images.shape[-2:]:
            problems[name] = NO_STRIDE
    return problems
