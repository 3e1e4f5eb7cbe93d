"""Linear equivariance of layers, and the group law of the fitted maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from capsbench.contracts import LayerOfInterest, Model
from capsbench.data.evaluation import ViewSelection
from capsbench.data.folds import Folds, folds_by_image, folds_by_object
from capsbench.data.images import ImageDataModule
from capsbench.measures._activations import choose_layers
from capsbench.measures._composed_views import composed_views
from capsbench.measures._config import LayerMeasureConfig
from capsbench.measures._equivariance_maps import IMAGES_PER_COMPONENT
from capsbench.measures._figures import LayerFigureSpec, LineSpec
from capsbench.measures._fit_values import layer_values, per_image_errors
from capsbench.measures._image_subset import ImageSubset, image_subset, subset_batches
from capsbench.measures._measure import Measure, MeasureContext, ValueSpec
from capsbench.measures._nonfinite import drop_nonfinite
from capsbench.measures._paired_activations import activations, identity_view
from capsbench.measures._per_class_fit import ClassFit, fit_class
from capsbench.measures._result import MeasureResult, index_name
from capsbench.viewpoint.grid import GridView, ViewGrid
from capsbench.viewpoint.spread import Sweep

NONE_HELD_OUT = "not measured: a class has no second object, or image, to hold out"
SEVERAL_OBJECTS = "not measured: images hold several objects, and maps are fitted for each class"


class LinearEquivarianceConfig(LayerMeasureConfig):
    """Arguments of linear equivariance.

    Attributes:
        grid: The views; default: quarter turns.
        images: Largest number of test images, the same for every model.
        width: Number of principal components in which features are compared, the same for all
            layers. Every component needs ten training images of each class; a third of the images
            is held out. A width of 10 with ten classes needs about 1,700 images. Layers with fewer
            numbers are left out.
    """

    measure: Literal["linear-equivariance"]
    grid: ViewGrid = ViewGrid(rotation=Sweep(start=-90, stop=180, step=90))
    images: int = Field(default=2000, ge=2)
    width: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _check_views(self) -> Self:
        if all(view.is_identity for view in self.grid.views()):
            raise ValueError("linear-equivariance needs a view that changes the image")
        return self


class LinearEquivariance(Measure[LinearEquivarianceConfig]):
    """Change of a layer's features under a view that an affine map explains on held-out images.

    For each view g and class a map A_g from f(x) to f(T_g x) is fitted by ridge regression, every
    layer as one vector per image, in equally many principal components. Two controls show what a
    fit explains without equivariance. Values are by layer and view, and by layer over all views;
    see `capsbench.measures._equivariance_maps.fit_equivariance_maps`.

    For factors whose views compose, A_gh is compared with A_g A_h, as means over the pairs of views
    per factor. If the views of the grid form a group, such as quarter turns, these maps are fitted
    to images that are seen from every view of the group before the change; otherwise to images as
    they are stored.

    For changes of azimuth and elevation a third of each class's objects is held out, otherwise a
    third of the images. The work is done class by class: memory is images of a class x (views + 1)
    x features of all layers. Per-image arrays hold the held-out images, class by class;
    ``residual`` and ``change`` are squared distances in the components, (N, V), of the views that
    change anything.
    """

    config = LinearEquivarianceConfig
    revision = 2
    controlled = True  # random convolutions of a turned image are linear in it
    outputs = ()  # only layers
    source = "after Lenc & Vedaldi (2015), for equation 3 of the article"
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "explained": ValueSpec(
            "1 − E|f(T_g x) − A_g f(x)|² / E|f(T_g x) − f(x)|² on held-out images: 1 if the map "
            "explains the whole change, 0 if it is no better than no change."
        ),
        "shuffled_explained": ValueSpec(
            "The same with maps fitted to pairs shuffled within the class, a control."
        ),
        "gain_over_control": ValueSpec(
            "1 − E|f(T_g x) − A_g f(x)|² over the smaller error of the two controls (no change, "
            "and shuffled pairs), selected for each class and view: 0 if a control is as good."
        ),
        "r2_over_control": ValueSpec(
            "R² of f(T_g x) by the map within a class, minus that of the best control (no change, "
            "shuffled pairs, or the mean): 1 if the map alone predicts, 0 if a control is as good, "
            "or nothing changes."
        ),
        "distance_from_identity": ValueSpec("Mean of |A_g − I| (Frobenius) / √d."),
        "change_in_components": ValueSpec(
            "Share of the change E|f(T_g x) − f(x)|² that lies in the components."
        ),
        "group_law_error": ValueSpec(
            "E|(A_gh − A_g A_h) f|² / E|A_gh f|² on held-out images, mean over pairs of views."
        ),
        "group_law_noise": ValueSpec(
            "The same between two maps A_gh fitted to halves of the training images, a control."
        ),
        "group_law_distance": ValueSpec(
            "Mean over pairs of views of the larger one of |A_g − I| and |A_h − I| (Frobenius) / "
            "√d: near 0 the group law holds trivially."
        ),
        "group_explained": ValueSpec(
            "'explained' of maps that are fitted to images seen from every view of a group."
        ),
        "group_gain_over_control": ValueSpec(
            "'gain_over_control' of maps that are fitted to images seen from every view of a group."
        ),
        "group_r2_over_control": ValueSpec(
            "'r2_over_control' of maps that are fitted to images seen from every view of a group: "
            "each map has to hold from all of them."
        ),
    }
    figures: ClassVar = (
        LayerFigureSpec(
            name="linear-equivariance",
            title="Linear equivariance",
            axis="share",
            lines=(
                LineSpec("r2_over_control", "R² beyond the controls"),
                LineSpec("explained", "explained"),
                LineSpec("shuffled_explained", "explained for shuffled pairs", control=True),
            ),
            by_factor=False,
            references=(0.0, 1.0),
            caption=(
                "For each view and each class an affine map A is fitted from features f(x) to "
                "features f(Tx) and tested on held-out images, in equally many principal "
                "components of every layer. Explained is 1 − E|f(Tx) − A f(x)|² / "
                "E|f(Tx) − f(x)|²: 1 if the map predicts the change of each image, 0 if it is no "
                "better than 'nothing changes', the control at the line 0. The dashed control is a "
                "map fitted to pairs shuffled within the class, which can predict no more than the "
                "mean of the class. R² beyond the controls is the variance of f(Tx) that the map "
                "alone predicts, relative to the differences between images of a class: 1 for an "
                "equivariant representation, 0 if a control is as good, and also if nothing "
                "changes. Values below −0.5 are drawn there. Source: after Lenc and Vedaldi "
                "(2015); the article's equation 3."
            ),
            floor=-0.5,
        ),
        LayerFigureSpec(
            name="group-equivariance",
            title="Linear equivariance from every view",
            axis="R²",
            lines=(LineSpec("group_r2_over_control", "R² beyond the controls"),),
            references=(0.0, 1.0),
            caption=(
                "R² beyond the controls of maps that are fitted to images seen from every view of "
                "a group, such as the quarter turns, so that each map has to hold from all of "
                "them. Objects that all have one orientation show little of a map: near a single "
                "view every smooth function is linear, also with random weights. 1 for an "
                "equivariant representation, 0 if a control is as good, or nothing changes."
            ),
            floor=-0.5,
        ),
        LayerFigureSpec(
            name="group-law",
            title="Group law of the fitted maps",
            axis="share",
            lines=(
                LineSpec("group_law_error", "error of the composition"),
                LineSpec("group_law_distance", "distance from no change"),
                LineSpec("group_law_noise", "error between halves of the data", control=True),
            ),
            references=(0.0,),
            caption=(
                "Two movements, one after the other, are one longer movement. The error is "
                "E|(A_gh − A_g A_h) f|² / E|A_gh f|² on held-out images, A_g a fitted map as "
                "above; if the views form a group, fitted to images seen from every one of them. "
                "At the dashed noise (the difference between maps fitted to two halves of the "
                "images) the maps are a representation of the group of views. Where the distance "
                "|A − I| is near 0 the law says nothing: a map that changes nothing satisfies it. "
                "Source: the definition of a group representation."
            ),
        ),
    )

    @classmethod
    @torch.inference_mode()
    def compute(
        cls,
        config: LinearEquivarianceConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compute the values, or a note if there are too few images or several objects in one."""
        views = [view for view in config.grid.views() if not view.is_identity]
        subset = image_subset(data, views, config.images)
        images = data.split(subset.split)[subset.rows]
        targets, folds = images.targets, folds_by_image(images.index)
        if subset.partners:
            folds = folds_by_object(targets, images.factors["instance"], images.index)
        if problem := _problem(data, subset, targets, folds, config.width):
            return MeasureResult([], {}, (problem,))
        compositions = {factor: composed_views(views, factor) for factor in config.grid.factors()}
        layers = choose_layers(model, config.layers)
        fits: dict[str, list[ClassFit]] = {name: [] for name in layers}
        excluded: dict[str, str] = {}  # layer -> reason
        labels, steps = targets.unique().tolist(), config.num_progress_steps
        for count, label in enumerate(labels):
            rows = (targets == label).nonzero()[:, 0]
            features = _features(model, layers, data, context.device, subset.select(rows), views)
            for name, layer_features in features.items():
                if layer_features.shape[-1] < config.width:
                    excluded[name] = (
                        f"it has {layer_features.shape[-1]} numbers, below the common width of "
                        f"{config.width}"
                    )
                elif not layer_features.isfinite().all():
                    excluded[name] = "not all of its numbers are finite"
                else:
                    fits[name].append(
                        fit_class(
                            layer_features, label, folds.select(rows), config.width, compositions
                        )
                    )
            # The steps are distributed over the classes, whose number no config knows.
            for _ in range((count + 1) * steps // len(labels) - count * steps // len(labels)):
                context.advance()
        measured = {name: fits[name] for name in layers if name not in excluded}
        n = int(folds.held_out.sum())
        values, undefined = drop_nonfinite(
            (quantity, number, n)
            for name, class_fits in measured.items()
            for quantity, number in layer_values(name, class_fits, views, compositions)
        )
        arrays = per_image_errors(measured, {value.name for value in values})
        held_out = [folds.held_out & (targets == label) for label in labels]
        arrays[index_name()] = torch.cat([images.index[rows] for rows in held_out]).numpy()
        left_out = [f"{name} is left out: {reason}" for name, reason in sorted(excluded.items())]
        ungrouped = [
            f"the group law of {factor} is that of maps fitted to images as they are stored: its "
            "views form no group"
            for factor, each in compositions.items()
            if len(each.triples) and each.table is None
        ]
        return MeasureResult(values, arrays, (*left_out, *ungrouped, *undefined))


def _problem(
    data: ImageDataModule, subset: ImageSubset, targets: Tensor, folds: Folds, width: int
) -> str | None:
    """Return the reason why the measure cannot be computed on these images, if any."""
    one = subset.select(torch.tensor([0]))
    if next(subset_batches(data, "cpu", one, identity_view())).targets.dim() == 2:
        return SEVERAL_OBJECTS
    training, held_out = (
        int(targets[part].bincount(minlength=int(targets.max()) + 1)[targets.unique()].min())
        for part in (~folds.held_out, folds.held_out)
    )
    if not held_out:
        return NONE_HELD_OUT
    largest = training // IMAGES_PER_COMPONENT
    if largest >= width:
        return None
    remedy = f", or a width of {largest}" if largest else ""
    return (
        f"not measured: a width of {width} needs {IMAGES_PER_COMPONENT * width} training images of "
        f"each class, and there are {training}: give more images{remedy}"
    )


def _features(
    model: Model,
    layers: Mapping[str, LayerOfInterest],
    data: ImageDataModule,
    device: str,
    subset: ImageSubset,
    views: Sequence[GridView],
) -> dict[str, Tensor]:
    """Return features by layer, (n, V + 1, D): of n images as stored, and from V views."""
    by_view: dict[str, list[Tensor]] = {name: [] for name in layers}
    all_views: list[ViewSelection] = [identity_view(), *views]
    for view in all_views:
        batches: dict[str, list[Tensor]] = {name: [] for name in layers}
        for _, captured in activations(model, layers, data, device, subset, view):
            for name, parts in batches.items():
                parts.append(captured[name].flatten(1))
        for name, parts in batches.items():
            by_view[name].append(torch.cat(parts))
    return {name: torch.stack(parts, dim=1) for name, parts in by_view.items()}
