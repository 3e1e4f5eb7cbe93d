"""Declared equivariance as a measure: networks of known and of wrong declarations."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d

from capsbench.errors import UserError
from capsbench.measures._image_subset import subset_rows
from capsbench.metrics.invariance import invariance_error
from capsbench.models.cnn_p4 import CNNP4
from capsbench.names import find
from capsbench.representations import (
    AFFINE,
    QUARTER_TURNS,
    SHIFTS,
    DeclaredFactor,
    Invariant,
    MatrixPoses,
    OrientationMap,
    PoseFrame,
    SpatialMap,
    whole_strides,
)
from capsbench.values import select
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from tests.measures.computing import compute, number
from tests.measures.layered import Layered, convolution, orbit_mean, random

TURNS = {"rotation": {"start": 0, "stop": 270, "step": 90}}
CONSTRUCTION, CLAIMED = "by construction", "claimed"
ANY_TURN = OrientationMap(claimed=(DeclaredFactor("rotation"),))
KERNEL = random(2, 1, 3, 3, seed=1)


def measured(model, measure="declared-equivariance", **arguments):
    data = find("datamodules", "digits").load()(limit=200)
    return compute(measure, model.eval(), data, **{"grid": TURNS, "images": 40, **arguments})


def at(result, metric, layer, factor="rotation", view=None, basis=CONSTRUCTION):
    place = {"layer": layer, "factor": factor, "basis": basis}
    place |= {} if view is None else {"view": view}
    return number(result, metric=metric, **place)


def p4():
    torch.manual_seed(0)
    return CNNP4(image_shape=(1, 32, 32), num_classes=10, width=2)


def test_quarter_turns_of_a_p4_network_are_at_rounding_error():
    result = measured(p4())
    for layer in ("block 1", "block 2", "block 3", "orientations", "average"):
        for view in (90, 180, 270, None):
            assert at(result, "declared_error", layer, view=view) < 1e-5
    for layer in ("block 1", "block 2", "block 3", "orientations"):
        assert at(result, "unchanged_error", layer) > 0.5
        assert at(result, "interpolation_error", layer) == 0
    assert not select(result.values, metric="explained")
    assert not any("explained" in note for note in result.notes)
    assert {value.condition["basis"] for value in result.values} == {CONSTRUCTION}
    name = "declared_distance[layer=block 1,basis=by construction]"
    assert result.per_image[name].shape == (4, 40)


@pytest.mark.parametrize("wrong", ["reversed", "map", "invariant"])
def test_a_wrong_declaration_of_a_p4_network_has_an_error(wrong, monkeypatch):
    class Reversed(OrientationMap):
        def apply(self, features, matrix):
            return super().apply(features, torch.linalg.inv(matrix).round())

    declared = {
        "reversed": Reversed(claimed=QUARTER_TURNS),
        "map": SpatialMap(claimed=QUARTER_TURNS),
        "invariant": Invariant(claimed=QUARTER_TURNS),
    }[wrong]
    model = p4()
    layers = dict(model.layers_of_interest())
    object.__setattr__(layers["block 2"], "transformation", declared)
    monkeypatch.setattr(model, "layers_of_interest", lambda: layers)
    result = measured(model, layers=["block 2"])
    assert at(result, "declared_error", "block 2", view=90, basis=CLAIMED) > 0.3
    half_turn = at(result, "declared_error", "block 2", view=180, basis=CLAIMED)
    assert half_turn < 1e-5 if wrong == "reversed" else half_turn > 0.3
    if wrong == "reversed":  # one affine map of the four orientations repairs it
        assert at(result, "fitted_error", "block 2", view=90, basis=CLAIMED) < 0.02
        assert at(result, "gain_over_control", "block 2", basis=CLAIMED) > 0.99


def test_a_spatial_map_has_the_numbers_of_spatial_equivariance():
    grid = {"rotation": {"start": 30, "stop": 60, "step": 30}}
    coarse = {"stride": 2.0, "offset": 0.5, "transformation": SpatialMap(claimed=AFFINE)}
    model = Layered(
        pooled=(lambda images: avg_pool2d(convolution(KERNEL)(images), 2), "map", coarse)
    )
    declared = measured(model, grid=grid, margin=4)
    spatial = measured(model, "spatial-equivariance", grid=grid, margin=4, layers=["pooled"])
    for metric in ("error", "change", "spread", "class_error"):
        for view in (30, 60, None):
            place = {"factor": "rotation", **({} if view is None else {"view": view})}
            expected = number(spatial, metric=f"spatial_{metric}", layer="pooled", **place)
            assert (
                at(declared, f"declared_{metric}", "pooled", view=view, basis=CLAIMED) == expected
            )
    interpolation = number(spatial, metric="interpolation_error", layer="pooled", factor="rotation")
    assert at(declared, "interpolation_error", "pooled", basis=CLAIMED) == interpolation


def test_an_invariant_layer_has_the_invariance_error():
    mean = orbit_mean(lambda images: images.flatten(1))
    some, all_of_it = Invariant(claimed=AFFINE), Invariant(exact=QUARTER_TURNS)
    model = Layered(
        pixels_too=(lambda images: images.flatten(1), "vector", {"transformation": some}),
        mean=(mean, "vector", {"transformation": all_of_it}),
    )
    result = measured(model)
    expected = measured(model, "invariance-error", layers=["pixels_too"])
    error = number(expected, metric="invariance_error", layer="pixels_too", factor="rotation")
    for metric in ("declared_error", "unchanged_error"):
        assert at(result, metric, "pixels_too", basis=CLAIMED) == error
    assert at(result, "declared_error", "mean") < 1e-6
    assert not select(result.values, metric="interpolation_error")


def test_poses_with_the_position_of_the_centroid_move_as_declared():
    def centroid(images):
        """Return (N, 1, 4, 4) poses: y and x of the centre of mass in the last column."""
        mass = images[:, 0] / images[:, 0].sum(dim=(1, 2), keepdim=True)
        steps = torch.arange(32.0)
        poses = torch.zeros(len(images), 1, 4, 4)
        poses[:, 0, 0, 3] = (mass.sum(2) @ steps) / 32
        poses[:, 0, 1, 3] = (mass.sum(1) @ steps) / 32
        poses[:, 0, 3, 3] = 1
        return poses

    frame = PoseFrame(unit=(32.0, 32.0), origin=(0.0, 0.0), x=(1, 3), y=(0, 3))
    good, swapped = (
        MatrixPoses(frame=each, claimed=AFFINE)
        for each in (frame, frame._replace(x=(0, 3), y=(1, 3)))
    )
    model = Layered(
        good=(centroid, "pose", {"transformation": good}),
        swapped=(centroid, "pose", {"transformation": swapped}),
    )
    grid = {**TURNS, "shift_x": {"start": -2, "stop": 2, "step": 2}}
    result = measured(model, grid=grid)
    for factor in ("rotation", "shift_x"):
        assert at(result, "declared_error", "good", factor, basis=CLAIMED) < 1e-3
        assert at(result, "unchanged_error", "good", factor, basis=CLAIMED) > 0.5
        assert at(result, "declared_error", "swapped", factor, basis=CLAIMED) > 0.5


def test_numbers_are_those_of_the_definition():
    model = p4()
    result = measured(model, layers=["block 1"])
    data = find("datamodules", "digits").load()(limit=200)
    rows = subset_rows(data, 40)
    still = data.evaluation.get_batch("familiar", rows, Views.identity(1))
    moved = data.evaluation.get_batch("familiar", rows, GridView("rotation", 90))
    assert torch.equal(moved.images, still.images.rot90(1, (2, 3)))
    with torch.no_grad():
        f_x, f_gx = model.eval().block1(still.images), model.block1(moved.images)
    unchanged = invariance_error(f_x, f_gx).error.item()
    assert at(result, "unchanged_error", "block 1", view=90) == pytest.approx(unchanged, rel=1e-6)
    expected = f_x.unflatten(1, (-1, 4))[:, :, [3, 0, 1, 2]].rot90(1, (3, 4)).flatten(1, 2)
    assert invariance_error(expected, f_gx).error < 1e-5
    assert (expected - f_gx).abs().max() < 1e-5


def test_views_and_layers_without_a_declaration_are_named_in_notes():
    grid = {
        "rotation": {"start": 45, "stop": 90, "step": 45},
        "scale": {"start": 1, "stop": 1.5, "step": 0.5},
    }
    result = measured(p4(), grid=grid, layers=["block 1", "classes", "pixels"])
    assert {value.view for value in result.values} == {90.0, None}
    nothing, views, *_ = result.notes
    assert "nothing is declared of classes" in nothing
    assert (
        "block 1: not measured at rotation 45; scale 1.5 (declared: shift_x by" in views
        and "multiples of 90°" in views
    )
    assert "scale 1," not in views
    assert not any("border" in note for note in result.notes)


def test_shifts_by_construction_are_compared_away_from_the_border():
    """Zero padding does not move: the network has a bias before its second convolution."""
    kernels = random(2, 1, 3, 3, seed=1), random(2, 2, 3, 3, seed=2)

    def padded(images):
        return conv2d(conv2d(images, kernels[0], padding=1) + 1, kernels[1], padding=1)

    def by_construction(**layer):
        return {"transformation": SpatialMap(exact=whole_strides(1)), **layer}

    model = Layered(
        padded=(padded, "map", by_construction()),
        coarse=(lambda images: avg_pool2d(padded(images), 16), "map", by_construction()),
    )
    shift = {"shift_x": {"start": -3, "stop": 3, "step": 3}}
    result = measured(model, grid=shift)
    assert at(result, "declared_error", "padded", "shift_x") < 1e-6
    assert at(result, "unchanged_error", "padded", "shift_x") > 0.5
    spatial = measured(model, "spatial-equivariance", grid=shift, layers=["padded"])
    place = {"layer": "padded", "factor": "shift_x"}
    assert number(spatial, metric="spatial_error", **place) > 0.01
    assert not select(result.values, layer="coarse")
    assert any("coarse: not measured at shift_x -3, 3" in note for note in result.notes)


def test_a_model_without_declarations_has_a_note():
    result = measured(Layered(conv=(convolution(KERNEL), "map")))
    assert not result.values and not result.per_image
    (note,) = result.notes
    assert "declares no transformation" in note and "transformation=" in note


def test_bases_are_not_averaged():
    both = SpatialMap(exact=QUARTER_TURNS, claimed=AFFINE)
    model = Layered(
        conv=(
            convolution(orbit_mean(lambda kernel: kernel)(KERNEL)),
            "map",
            {"transformation": both},
        )
    )
    result = measured(model, grid={"rotation": {"start": 45, "stop": 90, "step": 45}})
    exact, claimed = (
        at(result, "declared_error", "conv", basis=b) for b in (CONSTRUCTION, CLAIMED)
    )
    assert exact < 1e-6 < 0.01 < claimed
    assert result.per_image["declared_error[layer=conv,basis=claimed]"].shape == (40,)
    overall = number(result, metric="declared_error", layer="conv", basis=CLAIMED)
    assert overall == claimed


def test_shifts_without_comparable_positions_are_named_and_not_measured():
    """Of a map of 8 x 8 positions the outer ones and their neighbours see the border."""
    pooled = {"stride": 4.0, "offset": 1.5, "transformation": SpatialMap(exact=whole_strides(4))}
    claim = {**pooled, "transformation": SpatialMap(claimed=whole_strides(4))}
    model = Layered(
        pooled=(lambda images: avg_pool2d(images, 4), "map", pooled),
        claim=(lambda images: avg_pool2d(images, 4), "map", claim),
    )
    shifts = {"shift_x": {"start": 12, "stop": 32, "step": 4}}
    result = measured(model, grid=shifts)
    views = {
        value.view for value in select(result.values, layer="pooled") if value.view is not None
    }
    assert views and max(views) < 24
    assert not any("layer=pooled" in note for note in result.notes)  # nothing is undefined
    (note,) = (note for note in result.notes if note.startswith("pooled: not measured"))
    assert "shift_x" in note and "28, 32 (no position can be compared" in note
    assert any(
        note.startswith("claim: not measured at shift_x 32 (no pos") for note in result.notes
    )


def test_captions_share_no_sentence():
    first, second = (
        set(figure.caption.split(". "))
        for figure in find("measures", "declared-equivariance").load().figures
    )
    assert not first & second


def test_the_figure_of_claims_has_both_controls():
    _, claimed = find("measures", "declared-equivariance").load().figures
    controls = {line.metric for line in claimed.lines if line.control}
    assert controls == {"unchanged_error", "interpolation_error"}


@pytest.mark.parametrize(
    ("kind", "function", "declared", "message"),
    [
        ("vector", lambda x: x.flatten(1), SpatialMap(claimed=SHIFTS), "'odd': .* has none"),
        ("map", lambda x: x, OrientationMap(exact=QUARTER_TURNS), "groups of 4; got 1"),
        ("map", lambda x: x.repeat(1, 4, 1, 1), ANY_TURN, "'odd': .*rotation=45.*quarter turns"),
    ],
    ids=["no positions", "no orientations", "no quarter turn"],
)
def test_a_declaration_that_does_not_fit_the_layer_is_refused(kind, function, declared, message):
    model = Layered(odd=(function, kind, {"transformation": declared}))
    turns = {"rotation": {"start": 45, "stop": 90, "step": 45}}
    grid = turns if kind == "map" else {"shift_x": {"start": 0, "stop": 1, "step": 1}}
    with pytest.raises(UserError, match=message):
        measured(model, grid=grid)
