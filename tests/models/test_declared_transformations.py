"""Transformations that the shipped models declare, against the models' own modules."""

from dataclasses import replace

import pytest
import torch

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.em_layers import ClassEMCapsules
from capsbench.measures._layer_transforms import LayerTransforms
from capsbench.models._geometry import output_size
from capsbench.models._group_convolution import P4Convolution, rotate_p4
from capsbench.names import find
from capsbench.representations import (
    Invariant,
    MatrixPoseMap,
    MatrixPoses,
    OrientationMap,
    SpatialMap,
)
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views


def build(name, shape=(1, 32, 32), **arguments):
    torch.manual_seed(0)
    cls = find("models", name).load()
    return cls(image_shape=shape, num_classes=3, **arguments).double().eval()


def declared(model):
    return {name: layer.transformation for name, layer in model.layers_of_interest().items()}


def matrix_of(factor, value, size=32):
    return Views.of_grid([GridView(factor, value)]).matrices(size, size)[0]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_orientations_permute_as_p4_convolutions_do(turns):
    torch.manual_seed(0)
    layer, features = P4Convolution(2, 3, kernel=3).double(), torch.rand(2, 8, 6, 6).double()
    moved = layer(features).unflatten(1, (-1, 4)).rot90(turns, (3, 4))
    rho = OrientationMap().apply(moved, matrix_of("rotation", 90.0 * turns)).flatten(1, 2)
    rotated = layer(rotate_p4(features, turns))
    torch.testing.assert_close(rho, rotated)
    back = OrientationMap().apply(moved, matrix_of("rotation", -90.0 * turns)).flatten(1, 2)
    assert turns == 2 or not torch.allclose(back, rotated)


@pytest.mark.parametrize("name", ["cnn-p4", "cnn-orbit-pool"])
def test_quarter_turns_are_exact_for_square_images_alone(name):
    turn = GridView("rotation", 90)
    square, wide = (build(name, shape) for shape in ((1, 24, 24), (1, 24, 28)))
    assert {each.basis(turn) for each in declared(square).values()} == {"by construction"}
    assert "by construction" not in {each.basis(turn) for each in declared(wide).values()}


def test_copies_that_are_pooled_are_the_claim_of_orbit_pooling():
    turned, scaled = GridView("rotation", 45), GridView("scale", 1.5)
    plain, both = (
        declared(build("cnn-orbit-pool", width=2, **more))["largest"]
        for more in ({"rotations": 1}, {"rotations": 8, "scales": (1.0, 1.5)})
    )
    assert plain.basis(turned) is None and plain.basis(scaled) is None
    assert both.basis(turned) == "claimed" and both.basis(scaled) == "claimed"


@pytest.mark.parametrize("name", ["capsnet-em", "capsnet-em-code", "cnn-hinton2018"])
def test_shifts_are_claims_of_networks_that_standardise_each_image(name):
    rho = declared(build(name))
    maps = [each for each in rho.values() if each is not None and each.moves_positions]
    assert maps
    assert {each.basis(GridView("shift_x", 8)) for each in maps} == {"claimed"}
    assert all(each.source for each in maps)


@pytest.mark.parametrize("name", ["capsnet-em", "capsnet-em-code"])
def test_coordinates_that_are_added_to_votes_move_as_declared(name):
    model = build(name, (1, 32, 48), channels=2, primary_types=2, types=(2, 2))
    height, width = (output_size(side, model.windows) for side in (32, 48))
    offsets = model.coordinates()(height, width, like=torch.zeros(()).double())
    fields = offsets.permute(2, 3, 0, 1).reshape(1, 1, 16, height, width)
    stride = model.layers_of_interest()["capsules 2 poses"].stride
    rho = declared(model)["class poses"]
    right, down = (
        rho.apply(fields, Views.of_grid([GridView(factor, stride)]).matrices(32, 48)[0])
        for factor in ("shift_x", "shift_y")
    )
    torch.testing.assert_close(right[..., :-1], fields[..., 1:])
    torch.testing.assert_close(down[..., :-1, :], fields[..., 1:, :])


def test_em_routing_moves_class_poses_by_a_shift_of_all_votes():
    """Offsets are added to all votes alike: the mean moves, assignments and presences do not."""
    rho = MatrixPoses(frame=build("capsnet-em").pose_frame())
    matrix = matrix_of("shift_x", 8.0)

    def shifted(height, width, *, like):
        zeros = like.new_zeros(1, 1, 16, height, width)
        return rho.apply(zeros, matrix)[0, 0].unflatten(0, (4, 4)).permute(2, 3, 0, 1)

    torch.manual_seed(0)
    layer = ClassEMCapsules(3, 2, coordinates=None).double()
    children = Capsules(torch.randn(2, 3, 3, 3, 4, 4).double(), torch.rand(2, 3, 3, 3).double())
    still = layer(children, 1.0)
    layer.coordinates = shifted
    moved = layer(children, 1.0)
    expected = rho.apply(still.poses.flatten(2)[..., None, None], matrix).view_as(still.poses)
    torch.testing.assert_close(moved.poses, expected)
    torch.testing.assert_close(moved.presences, still.presences)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_class_capsules_of_em_routing_turn_with_a_centred_map(degrees):
    """Of images of 29 x 29 the last map has its centre in the middle of the image."""
    model = build("capsnet-em", (1, 29, 29), channels=2, primary_types=2, types=(2, 2))
    layers, view = model.layers_of_interest(), GridView("rotation", degrees)
    matrix = matrix_of("rotation", degrees, 29)
    transforms = LayerTransforms(layers, declared(model), (29, 29), margin=0)
    side = output_size(29, model.windows)
    poses = torch.randn(2, side, side, 2, 4, 4).double()
    presences = torch.rand(2, side, side, 2).double()

    def moved(name, output):
        fields, _ = transforms.pair(view, f"capsules 2 {name}", output, output)
        return fields.movedim((-2, -1), (1, 2)).reshape(output.shape)

    still = model.classes(Capsules(poses, presences), 1.0)
    turned = model.classes(Capsules(moved("poses", poses), moved("presences", presences)), 1.0)
    torch.testing.assert_close(turned.presences, still.presences)

    def expected(rho):
        return rho.apply(still.poses.flatten(2)[..., None, None], matrix).view_as(still.poses)

    rho = declared(model)["class poses"]
    torch.testing.assert_close(turned.poses, expected(rho))
    x, y = rho.frame.origin
    shifted = replace(rho, frame=rho.frame._replace(origin=(x + 1, y)))
    assert not torch.allclose(turned.poses, expected(shifted), atol=1e-3)


def test_poses_are_multiplied_where_rows_have_a_meaning():
    turn, shift = GridView("rotation", 30), GridView("shift_x", 3)
    small = {"channels": 2, "primary_types": 2, "types": (2, 2)}
    text = declared(build("capsnet-em", **small))
    assert isinstance(text["primary poses"], MatrixPoseMap)
    assert text["primary poses"].basis(turn) == text["class poses"].basis(turn) == "claimed"
    others = (
        build("capsnet-em-code", **small),
        build("capsnet-em", pose="vector", **small),
        build("capsnet-em", coordinate_addition=False, **small),
    )
    for model in others:
        rho = declared(model)
        assert type(rho["primary poses"]) is SpatialMap
        assert rho["class poses"].basis(turn) is None
        assert rho["class poses"].basis(shift) == "claimed"
    assert isinstance(rho["class poses"], Invariant)  # of the last one, without coordinates


def test_nothing_is_declared_of_the_class_poses_of_dynamic_routing():
    rho = declared(build("capsnet-dr", channels=2, primary_types=2, decoder=()))
    assert rho["class poses"] is None
    assert rho["primary poses"].basis(GridView("shift_x", 2)) == "by construction"
    assert rho["primary poses"].basis(GridView("rotation", 90)) is None
    assert rho["class presences"].basis(GridView("rotation", 90)) == "claimed"


@pytest.mark.parametrize("transformation", ["shift", "affine"])
def test_poses_of_the_transforming_autoencoder_move_as_the_network_moves_them(transformation):
    model = build("transforming-autoencoder", transformation=transformation)
    capsules = model.recognition(torch.rand(3, 1, 32, 32).double())
    rho = declared(model)["poses"]
    for view in (GridView("shift_x", 3), GridView("rotation", 40)):
        views = Views.of_grid([view])
        expected = model.move(capsules, views[torch.zeros(3, dtype=torch.long)]).poses
        fields = capsules.poses[..., None, None]
        result = rho.apply(fields, views.matrices(32, 32)[0])[..., 0, 0]
        torch.testing.assert_close(result, expected)
    assert rho.basis(GridView("rotation", 40)) == (None if transformation == "shift" else "claimed")
