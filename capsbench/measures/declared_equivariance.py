"""Error of the transformations that a model declares for its layers."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from capsbench.contracts import LayerOfInterest, Model
from capsbench.data.images import ImageDataModule
from capsbench.measures._activations import COMMON_LAYERS, choose_layers
from capsbench.measures._config import WarpMeasureConfig
from capsbench.measures._errors_by_view import Pair, error_metrics, errors_by_view
from capsbench.measures._figures import LayerFigureSpec, LineSpec
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._layer_transforms import LayerTransforms
from capsbench.measures._measure import Measure, MeasureContext, ValueSpec
from capsbench.measures._nonfinite import drop_nonfinite
from capsbench.measures._paired_activations import identity_view
from capsbench.measures._pose_fits import PoseFits, num_held_out
from capsbench.measures._receptive_field import interior_positions
from capsbench.measures._result import MeasureResult, index_name
from capsbench.measures._warped_maps import BORDERS
from capsbench.representations import Basis, Representation
from capsbench.values import Condition
from capsbench.viewpoint.grid import GridView

NOTHING_DECLARED = (
    "not measured: the model declares no transformation of a layer; give one as transformation= in "
    "its layers_of_interest()"
)
NO_POSITIONS = (
    "no position can be compared: each leaves the map or, at shifts by construction, it or a "
    "neighbour sees the border of the image, and padding does not move"
)
BORDER_IMAGES = 32  # for the positions that see the border


class DeclaredEquivarianceConfig(WarpMeasureConfig):
    """Arguments of the declared equivariance error.

    Attributes:
        layers: Names of layers; by default all whose transformation the model declares.
    """

    measure: Literal["declared-equivariance"]


def _figure(basis: Basis, title: str, caption: str, *further: LineSpec) -> LayerFigureSpec:
    condition: dict[str, Condition] = {"basis": basis}
    return LayerFigureSpec(
        name=f"declared-equivariance-{basis.replace(' ', '-')}",
        title=title,
        axis="error",
        lines=(
            LineSpec("declared_error", "as declared", condition=condition),
            LineSpec("unchanged_error", "without ρ", control=True, condition=condition),
            *further,
        ),
        references=(0.0, 1.0),
        caption=caption,
    )


class DeclaredEquivariance(Measure[DeclaredEquivarianceConfig]):
    """Difference between f(Tx) and ρ(T) f(x), ρ the transformation that a model declares.

    The error is that of the invariance error with ρ(T) f(x) in place of f(x): 0 if a layer
    transforms exactly as declared, 1 if the two differ as the features of different images do. Each
    layer is measured at the views for which its transformation is declared, and the condition
    ``basis`` has the reason: ``by construction``, for any weights, or ``claimed``, by the design or
    its paper. See `capsbench.representations.Representation`.

    There are three comparisons. The unchanged error has f(x) in place of ρ(T) f(x). The
    interpolation error is that of a map that is warped and warped back. The fitted error is what an
    affine map of the fibre leaves of the error of a claim, the same for all positions and fitted to
    other images, if a fibre has several numbers: of poses, or of orientations. See
    `capsbench.metrics.pose_equivariance.PoseFit`.
    """

    config = DeclaredEquivarianceConfig
    revision = 2
    controlled = True  # by construction, nothing is added; a claim may hold for random weights
    outputs = ()  # only layers
    source = "the article, equation 3"
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        **error_metrics(
            "declared",
            "√E d²(f(Tx), ρ(T) f(x)) divided by the geometric mean of √E d²(ρ(T) f(x), ρ(T) f(x′)) "
            "and √E d²(f(Tx), f(Tx′)); of a map, over the positions that stay within it.",
        ),
        **error_metrics(
            "unchanged", "The same error with f(x) in place of ρ(T) f(x), at the same positions."
        ),
        **error_metrics(
            "interpolation", "The same error of a map f(x) and f(x) with positions moved and back."
        ),
        "explained": ValueSpec(
            "1 − E|f(Tx) − A ρ(T) f(x)|² / E|f(Tx) − ρ(T) f(x)|² on held-out images, A the fitted "
            "affine map of the fibre."
        ),
        "shuffled_explained": ValueSpec(
            "The same with A fitted to fibres of other images at the same positions, the control."
        ),
        "gain_over_control": ValueSpec(
            "1 − E|f(Tx) − A ρ(T) f(x)|² over the smaller error of the two controls: ρ(T) alone, "
            "and the map fitted to other images."
        ),
        "distance_from_identity": ValueSpec(
            "Mean over fields of |A − I| / √d, d the numbers of a fibre; 0 if ρ(T) is right."
        ),
        "fitted_error": ValueSpec("The declared error times √(1 − explained)."),
    }
    figures: ClassVar = (
        _figure(
            "by construction",
            "Transformations by construction",
            "f(Tx) = ρ(T) f(x) (the article's equation 3) holds here for any weights: an error "
            "above rounding is a fault. ρ is the transformation that the model declares for the "
            "layer. Shifts are compared at positions that do not see the border of the image, "
            "because padding does not move. The control, f(x) in place of ρ(T) f(x), shows how "
            "much the views change.",
        ),
        _figure(
            "claimed",
            "Claimed transformations",
            "The difference between the features of a transformed image and the transformed "
            "features of the image, f(Tx) and ρ(T) f(x), where the design or its paper claims ρ: "
            "invariance, a map that moves, orientations that are permuted, poses that are "
            "multiplied. Nothing enforces it, and training may or may not bring it about. At 0 the "
            "layer transforms as declared; at 1 the two differ as the features of different images "
            "do. A fitted map is an affine map of the fibre, such as the pose, after ρ(T): what it "
            "explains is a regular change, but not the declared one. One control has f(x) in place "
            "of ρ(T) f(x). The other is the loss when a map is moved forth and back; that "
            "interpolates twice, so a perfect map would have half of this error. Source: the "
            "article's equation 3.",
            LineSpec("fitted_error", "with a fitted map", condition={"basis": "claimed"}),
            LineSpec(
                "interpolation_error",
                "moved forth and back",
                control=True,
                condition={"basis": "claimed"},
            ),
        ),
    )

    @classmethod
    @torch.inference_mode()
    def compute(
        cls,
        config: DeclaredEquivarianceConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compute the errors and the fitted maps; see `errors_by_view` and `PoseFits`."""
        candidates = choose_layers(model, config.layers)
        declared = {
            name: layer.transformation
            for name, layer in candidates.items()
            if layer.transformation is not None
        }
        views = config.grid.views()
        if not declared:
            for _ in views:
                context.advance()
            return MeasureResult([], {}, (NOTHING_DECLARED,))
        layers = {name: candidates[name] for name in declared}
        images = familiar_batches(
            data, context.device, subset_rows(data, BORDER_IMAGES), identity_view()
        )
        interior = interior_positions(model, layers, next(images).images)
        transforms = LayerTransforms(
            layers,
            declared,
            (data.image_shape[1], data.image_shape[2]),
            config.margin,
            interior,
        )
        bases = {
            (view, name): basis
            for view in views
            for name, representation in declared.items()
            if (basis := representation.basis(view)) is not None
            and transforms.comparable(view, name)
        }

        def compare(view: GridView, name: str, f_x: Tensor, f_gx: Tensor) -> dict[str, Pair]:
            if (view, name) not in bases:
                return {}
            pairs = {
                "declared": transforms.pair(view, name, f_x, f_gx),
                "unchanged": transforms.unchanged(view, name, f_x, f_gx),
            }
            if declared[name].moves_positions:
                pairs["interpolation"] = transforms.round_trip(view, name, f_x)
            return pairs

        def fibres(view: GridView, name: str, f_x: Tensor, f_gx: Tensor) -> Pair | None:
            # An exact declaration leaves nothing to fit, nor does a view that changes nothing.
            if bases.get((view, name)) != "claimed" or view.is_identity:
                return None
            return transforms.fibres(view, name, f_x, f_gx)

        def condition_of(view: GridView, name: str) -> dict[str, str]:
            return {"basis": bases.get((view, name), "")}

        fits = PoseFits(_with_fibres(layers, declared), fibres, condition_of)
        result = errors_by_view(compare, layers, config, model, data, context, fits, condition_of)
        n = num_held_out(result.per_image[index_name()])
        fitted = fits.values_with_errors(
            result.values, error="declared_error", remaining="fitted_error"
        )
        values, undefined = drop_nonfinite((quantity, value, n) for quantity, value in fitted)
        nothing = [name for name in candidates if name not in {*declared, *COMMON_LAYERS}]
        notes = (
            *([f"nothing is declared of {', '.join(nothing)}"] if nothing else []),
            *_not_measured(declared, views, bases),
            *result.notes,
            *undefined,
        )
        claims = any(
            basis == "claimed" and declared[name].moves_positions
            for (_, name), basis in bases.items()
        )
        if claims and not config.margin:
            notes += (f"of claims, {BORDERS}",)
        return MeasureResult([*result.values, *values], result.per_image, notes)


def _with_fibres(
    layers: Mapping[str, LayerOfInterest], declared: Mapping[str, Representation]
) -> list[str]:
    """Return the names of the layers whose fibres may have several numbers."""
    return [
        name
        for name, layer in layers.items()
        if layer.kind == "pose" or (layer.kind != "presence" and declared[name].numbers > 1)
    ]


def _not_measured(
    declared: Mapping[str, Representation],
    views: Sequence[GridView],
    measured: Container[tuple[GridView, str]],
) -> list[str]:
    """Return notes on views at which layers are not measured, one for layers with the same note."""
    names_by_note: dict[str, list[str]] = {}
    for name, representation in declared.items():
        covered = ", ".join(map(str, representation.exact + representation.claimed)) or "no view"
        places: dict[str, dict[str, list[str]]] = {}  # values by reason and factor
        for view in views:
            if (view, name) not in measured and not view.is_identity:
                is_declared = representation.basis(view) is not None
                reason = NO_POSITIONS if is_declared else f"declared: {covered}"
                by_factor = places.setdefault(reason, {})
                by_factor.setdefault(view.factor, []).append(f"{view.value:g}")
        for reason, by_factor in places.items():
            text = "; ".join(f"{factor} {', '.join(v)}" for factor, v in by_factor.items())
            names_by_note.setdefault(f"not measured at {text} ({reason})", []).append(name)
    return [f"{', '.join(names)}: {note}" for note, names in names_by_note.items()]
