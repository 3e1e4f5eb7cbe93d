"""Representations: against torch.rot90, loops over entries, and the law of a representation."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.errors import UserError
from capsbench.models._frames import MovedPoses
from capsbench.representations import (
    AFFINE,
    QUARTER_TURNS,
    SHIFTS,
    DeclaredFactor,
    Invariant,
    MatrixPoseMap,
    MatrixPoses,
    OrientationMap,
    PoseFrame,
    SpatialMap,
    quarter_turns,
    whole_strides,
)
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views

SIZE = (24, 24)
FRAME = PoseFrame(unit=(20.0, 10.0), origin=(1.0, -2.0), x=(1, 3), y=(0, 3))


def random(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def matrix_of(**factors):
    view = Views.identity(1)
    for name, value in factors.items():
        getattr(view, name)[0] = torch.tensor(value, dtype=torch.float64)
    return view.matrices(*SIZE)[0]


affine = st.builds(
    matrix_of,
    rotation=st.floats(-180, 180),
    shift=st.tuples(*2 * [st.floats(-10, 10)]),
    scale=st.floats(0.5, 2).map(lambda scale: (scale, scale)),
    shear=st.floats(-40, 40),
)
quarters = st.builds(
    matrix_of,
    rotation=st.sampled_from([-90.0, 0.0, 90.0, 180.0, 270.0]),
    shift=st.tuples(*2 * [st.integers(-5, 5)]),
)


def frame_of(matrix):
    """Return a map of pixels in the coordinates of `FRAME`: (x, y) -> (x', y'), by its points."""

    def image(u, v):
        x, y = 1 + 20 * u, -2 + 10 * v
        new_x, new_y, _ = (matrix @ matrix.new_tensor([x, y, 1])).tolist()
        return (new_x - 1) / 20, (new_y + 2) / 10

    origin = image(0, 0)
    columns = [
        [a - b for a, b in zip(image(*unit), origin, strict=True)] for unit in ((1, 0), (0, 1))
    ]
    return columns, origin


def test_values_of_a_declared_factor():
    strides = whole_strides(4)
    for value, inside in ((-8, True), (0, True), (4, True), (2, False), (4.001, False)):
        assert any(each.contains(GridView("shift_y", value)) for each in strides) is inside
    assert not strides[0].contains(GridView("shift_y", 4))
    assert DeclaredFactor("scale", 0.5).contains(GridView("scale", 1.5))
    assert not DeclaredFactor("scale", 0.5).contains(GridView("scale", 1.2))
    assert DeclaredFactor("shear").contains(GridView("shear", 3.7))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rotaton",), "did you mean 'rotation'"),
        (("azimuth",), "move the image.*got 'azimuth'"),
        (("brightness", 0.1), "move the image.*got 'brightness'"),
        (("rotation", 0), "above 0; got 0"),
        (("shift_x", -2.0), "above 0; got -2"),
        (("scale", math.nan), "above 0; got nan"),
    ],
)
def test_only_warps_by_positive_steps_are_declared(arguments, message):
    with pytest.raises(UserError, match=message):
        DeclaredFactor(*arguments)


@pytest.mark.parametrize("name", ["exact", "claimed"])
@pytest.mark.parametrize(
    "views", [DeclaredFactor("rotation"), [DeclaredFactor("rotation")], ("rotation",), "rotation"]
)
@pytest.mark.parametrize("create", [Invariant, lambda **views: MatrixPoses(frame=FRAME, **views)])
def test_declared_views_are_a_tuple_of_factors(create, name, views):
    with pytest.raises(UserError, match=f"{name} is a tuple of DeclaredFactor.*got"):
        create(**{name: views})


def test_exact_views_come_before_claims():
    both = Invariant(exact=QUARTER_TURNS, claimed=AFFINE)
    assert both.basis(GridView("rotation", -90)) == "by construction"
    assert both.basis(GridView("rotation", 45)) == "claimed"
    assert both.basis(GridView("tilt_x", 10)) is None
    text = str(both)
    assert text.startswith("by construction: rotation by multiples of 90°; claimed: any shift_x")


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_turns_of_an_image_are_counter_clockwise(turns):
    assert quarter_turns(matrix_of(rotation=90.0 * turns, shift=(3.0, -2.0))) == turns


@pytest.mark.parametrize("factors", [{"rotation": 30.0}, {"scale": (2.0, 2.0)}, {"shear": 10.0}])
def test_orientations_permute_under_quarter_turns_alone(factors):
    with pytest.raises(ValueError, match="quarter turns alone"):
        OrientationMap().apply(random(1, 1, 4, 2, 2), matrix_of(**factors))


def test_orientation_r_becomes_r_plus_the_number_of_turns():
    fields = random(2, 3, 4, 5, 5)
    for turns in range(4):
        permuted = OrientationMap().apply(fields, matrix_of(rotation=90.0 * turns))
        for r in range(4):
            assert torch.equal(permuted[:, :, (r + turns) % 4], fields[:, :, r])


@given(quarters, quarters)
@settings(max_examples=20, deadline=None)
def test_permutations_of_orientations_are_a_representation(first, second):
    fields, rho = random(2, 3, 4, 2, 2), OrientationMap()
    in_sequence = rho.apply(rho.apply(fields, first), second)
    assert torch.equal(in_sequence, rho.apply(fields, second @ first))


@given(affine, affine)
@settings(max_examples=40, deadline=None)
def test_multiplied_poses_are_a_representation(first, second):
    poses = random(2, 3, 16, 1, 1)
    for rho in (
        MatrixPoses(frame=FRAME, claimed=AFFINE),
        MatrixPoseMap(frame=FRAME, claimed=AFFINE),
        MovedPoses(image_size=SIZE),
    ):
        before = poses[:, :, :6] if isinstance(rho, MovedPoses) else poses
        in_sequence = rho.apply(rho.apply(before, first), second)
        torch.testing.assert_close(in_sequence, rho.apply(before, second @ first))


@given(affine)
@settings(max_examples=40, deadline=None)
def test_poses_are_multiplied_entry_by_entry(matrix):
    poses = random(2, 3, 4, 4, 2, 1)
    columns, origin = frame_of(matrix)
    # Row 1 is x, row 0 is y.
    left = torch.eye(4, dtype=torch.float64)
    left[1, 1], left[0, 1] = columns[0]
    left[1, 0], left[0, 0] = columns[1]
    expected = torch.zeros_like(poses)
    for i in range(4):
        for j in range(4):
            for k in range(4):
                expected[:, :, i, k] += left[i, j] * poses[:, :, j, k]
    flat = poses.flatten(2, 3)
    on_map = MatrixPoseMap(frame=FRAME).apply(flat, matrix)
    torch.testing.assert_close(on_map, expected.flatten(2, 3))
    expected[:, :, 1, 3] += origin[0]
    expected[:, :, 0, 3] += origin[1]
    in_list = MatrixPoses(frame=FRAME).apply(flat, matrix)
    torch.testing.assert_close(in_list, expected.flatten(2, 3))
    assert torch.equal(flat, poses.flatten(2, 3))  # unchanged


@given(affine)
@settings(max_examples=20, deadline=None)
def test_homogeneous_poses_are_multiplied_by_a_homogeneous_matrix(matrix):
    poses = random(1, 2, 4, 4)
    poses[:, :, 3] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    columns, origin = frame_of(matrix)
    product = torch.eye(4, dtype=torch.float64)
    product[1, 1], product[0, 1] = columns[0]
    product[1, 0], product[0, 0] = columns[1]
    product[1, 3], product[0, 3] = origin
    result = MatrixPoses(frame=FRAME).apply(poses.flatten(2)[..., None, None], matrix)
    torch.testing.assert_close(result.view(1, 2, 4, 4), product @ poses)


def test_multiplication_from_the_left_passes_votes_and_from_the_right_does_not():
    poses, weights, matrix = random(1, 5, 4, 4), random(4, 4, seed=1), matrix_of(rotation=30.0)
    rho = MatrixPoseMap(frame=FRAME)

    def left(each):
        return rho.apply(each.flatten(2)[..., None, None], matrix).view_as(each)

    torch.testing.assert_close(left(poses @ weights), left(poses) @ weights)
    right = random(4, 4, seed=2)
    assert not torch.allclose(poses @ right @ weights, poses @ weights @ right)


def test_shifts_are_exact_and_leave_the_other_entries():
    poses = random(1, 1, 16, 1, 1)
    shifted = MatrixPoses(frame=FRAME).apply(poses, matrix_of(shift=(5.0, 2.0))) - poses
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[1, 3], expected[0, 3] = 5 / 20, 2 / 10
    torch.testing.assert_close(shifted.view(4, 4), expected)
    assert torch.equal(MatrixPoseMap(frame=FRAME).apply(poses, matrix_of(shift=(5.0, 2.0))), poses)


def test_x_and_y_in_one_row_are_not_multiplied():
    frame = FRAME._replace(x=(0, 0), y=(0, 1))
    MatrixPoses(frame=frame, claimed=SHIFTS)
    with pytest.raises(ValueError, match=r"entries of one column.*without rotation, scale, shear"):
        MatrixPoses(frame=frame, claimed=AFFINE)


def test_tilts_have_no_matrix_of_a_pose():
    tilted = torch.eye(3, dtype=torch.float64)
    tilted[2, 0] = 0.01
    with pytest.raises(ValueError, match="affine"):
        MatrixPoses(frame=FRAME).apply(random(1, 1, 16, 1, 1), tilted)


def test_features_stay_where_only_positions_move():
    fields = random(1, 2, 1, 3, 3)
    for rho in (Invariant(), SpatialMap()):
        assert rho.apply(fields, matrix_of(rotation=math.pi)) is fields
