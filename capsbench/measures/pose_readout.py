"""Pose read-out: prediction of an image's view from a model's layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.data.randomness import views_by_index
from capsbench.data.splits import balanced_order
from capsbench.measures._config import MeasureConfig, require_distinct
from capsbench.measures._figures import LayerFigureSpec, LineSpec
from capsbench.measures._measure import Measure, MeasureContext, ValueSpec
from capsbench.measures._nonfinite import drop_nonfinite
from capsbench.measures._probe_inputs import layer_features, view_targets
from capsbench.measures._probe_values import PER_CLASS, probe_layers, probe_layers_per_class
from capsbench.measures._result import Array, MeasureResult, index_name
from capsbench.viewpoint.factors import RECORDED, range_field
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Spread

ReadoutFactor = Literal[
    "rotation",
    "shift_x",
    "shift_y",
    "scale",
    "shear",
    "tilt_x",
    "tilt_y",
    "brightness",
    "contrast",
    "azimuth",
    "elevation",
    "distance",
]
ALL_VALUES = {"azimuth": (0.0, 360.0), "elevation": (-90.0, 90.0), "distance": (0.0, 1e9)}


class PoseReadoutConfig(MeasureConfig):
    """Arguments of the pose read-out.

    Attributes:
        factors: Factors to predict. A warp or a photometric factor has to vary in ``views``;
            azimuth, elevation and distance are those of the recording.
        views: Range of the views, one view for each image. Recorded factors select images; without
            any, familiar images are used.
        layers: Names of layers. Default: all that the model declares, the pose of the true class,
            ``pixels`` and ``probabilities``.
        images: Largest number of test images, half of which are held out.
        width: Number of principal components of every layer.
        within_class: Also fit each class separately and average R² over the classes, because each
            capsule has its own coordinates.
        poolings: Also use the inputs and outputs of max-poolings: according to the article
            max-pooling discards the position of the largest value.
    """

    measure: Literal["pose-readout"]
    factors: tuple[ReadoutFactor, ...] = Field(min_length=1)
    views: ViewRange = ViewRange()
    layers: tuple[str, ...] | None = Field(default=None, min_length=1)
    images: int = Field(default=2000, ge=20)
    width: int = Field(default=16, ge=1)
    within_class: bool = False
    poolings: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_distinct("factors", self.factors)
        require_distinct("layers", self.layers or ())
        for factor in self.factors:
            spread = self.views.spread(factor)
            varies = factor in RECORDED if spread is None else spread.constant is None
            if not varies:
                raise ValueError(
                    f"{factor} does not vary: give views.{range_field(factor)} a range"
                )
        return self

    @property
    def required_views(self) -> list[GridView | ViewRange]:
        """The range of views, with all factors that have to be recorded."""
        ranges = {name: Spread(intervals=(ends,)) for name, ends in ALL_VALUES.items()}
        missing = [name for name in self.factors if self.views.spread(name) is None]
        return [self.views.model_copy(update={name: ranges[name] for name in missing})]

    @property
    def num_progress_steps(self) -> int:
        """One step for the features, one for all fits."""
        return 2


class PoseReadout(Measure[PoseReadoutConfig]):
    """R² on held-out images of each view's factors, predicted linearly from a layer's features.

    Each test image is seen from one random view. Factors are predicted by ridge regression from
    equally many principal components of every layer, at most a tenth of the number of training
    images; see `capsbench.measures._linear_probe.linear_probe`. An angle is predicted as cosine and
    sine; its R² counts the errors of both. Half of the objects are held out if the set tells
    objects apart, otherwise half of the images. Values of fits to each class separately are means
    over classes, with the condition ``fit``. Of a layer with more than 16,384 numbers, as many
    drawn at random are used.

    Per-image arrays in addition to those of R²: ``image``, the number of every image in its source;
    ``held_out``; and the targets of each factor under its name, all in the same order.
    """

    config = PoseReadoutConfig
    revision = 2
    controlled = True  # random features keep the view
    outputs = ()  # only layers
    source = "the article, 'Part and Object Representations'"
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "r2": ValueSpec(
            "1 − Σ(y − ŷ)² / Σ(y − ȳ)² of a factor over held-out images: 1 if it is predicted "
            "exactly, 0 if no better than by its mean. With the condition 'component', of the "
            "cosine or sine of an angle."
        ),
        "shuffled_r2": ValueSpec(
            "The same after fitting to factors shuffled over the training images, a control."
        ),
        "explained_variance": ValueSpec(
            "Share of the variance of a layer's training features in the components.", "share"
        ),
        "width": ValueSpec("Number of principal components of every layer.", "count"),
    }
    figures: ClassVar = (
        LayerFigureSpec(
            name="pose-readout",
            title="Pose read-out",
            axis="held-out R²",
            lines=(
                LineSpec("r2", "one fit for all classes"),
                LineSpec("r2", "a fit for each class", condition=dict(PER_CLASS)),
                LineSpec("shuffled_r2", "shuffled views", control=True),
            ),
            references=(0.0, 1.0),
            caption=(
                "Each test image is seen from one random view, which is predicted from a layer's "
                "features by ridge regression, from equally many principal components of every "
                "layer. R² on held-out images is 1 if the view is known exactly and 0 if nothing "
                "is known. A pose should keep what an invariant network discards; raw pixels are "
                "the baseline, and views shuffled over the images are the control. The pose of the "
                "true class is that of the capsule of the image's class. An angle is predicted as "
                "cosine and sine. 'Before' and 'after' are the input and output of a "
                "max-pooling. Values below −0.5 are drawn there."
            ),
            floor=-0.5,
        ),
    )

    @classmethod
    @torch.inference_mode()
    def compute(
        cls,
        config: PoseReadoutConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compute R² of each factor and layer.

        Raises:
            UserError: The set does not record a factor, or the model has no such layer.
        """
        for views in config.required_views:
            data.require_views(views)
        test, rows = data.split("test"), data.evaluation.view_rows("test", config.views)
        order = balanced_order(test.targets[rows], "images to measure")
        images = test[rows[order[: config.images]].sort().values]
        own_views = views_by_index(config.views, images.index, "views to read out")
        targets = view_targets(config.factors, images, own_views)
        features, notes = layer_features(
            model,
            config.layers,
            data,
            images,
            own_views,
            config.views.part,
            context.device,
            poolings=config.poolings,
        )
        context.advance()
        probed = probe_layers(features, targets, images, config.width)
        numbers, notes = probed.numbers, notes + probed.notes
        if config.within_class:
            within, more = probe_layers_per_class(features, targets, images, config.width)
            numbers, notes = numbers + within, notes + more
        context.advance()
        values, undefined = drop_nonfinite(numbers)
        arrays: dict[str, Array] = {
            index_name(): images.index[probed.held_out].numpy(),
            **{name: influence.numpy() for name, influence in probed.per_image.items()},
            "image": images.index.numpy(),
            "held_out": probed.held_out.numpy(),
            **{factor: columns.numpy() for factor, columns in targets.items()},
        }
        return MeasureResult(values, arrays, (*dict.fromkeys(notes), *undefined))
