"""EM routing of vector poses: equal to that of matrices if the maps are equal."""

import pytest
import torch

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.coordinates import coordinates
from capsbench.capsules.em_layers import ClassEMCapsules, ConvEMCapsules
from capsbench.capsules.em_routing import em_routing
from capsbench.capsules.em_variants import AUTHORS_CODE, PAPER
from capsbench.errors import UserError
from tests.capsules.em_reference import layer


def as_vectors(matrices):
    """Convert poses (..., 4, 4) to rows (..., 1, 16), and 4 x 4 maps to equivalent 16 x 16 ones."""
    rows = matrices.poses.flatten(-2).unsqueeze(-2)
    maps = torch.einsum("rs,...de->...rdse", torch.eye(4).to(matrices.weights), matrices.weights)
    return matrices._replace(poses=rows, weights=maps.flatten(-4, -3).flatten(-2))


@pytest.mark.parametrize("variant", [PAPER, AUTHORS_CODE])
@pytest.mark.parametrize("stride", [1, 2])
def test_maps_that_act_on_rows_route_like_matrices(variant, stride):
    matrices = layer(size=(4, 4))
    arguments = {"variant": variant, "stride": stride}
    expected = matrices.route(**arguments, backend="textbook")
    result = as_vectors(matrices).route(**arguments)
    torch.testing.assert_close(result.poses.squeeze(-2), expected.poses.flatten(-2))
    torch.testing.assert_close(result.presences, expected.presences)
    torch.testing.assert_close(result.assignments, expected.assignments)


def test_a_fast_backend_is_refused():
    vectors = as_vectors(layer())
    with pytest.raises(UserError, match=r"vector poses.*'eager'"):
        vectors.route(router=em_routing, backend="eager")


def test_layers_return_vectors_and_add_coordinates():
    torch.manual_seed(0)
    matrices = ClassEMCapsules(3, 5).double()
    vectors = ClassEMCapsules(3, 5, pose_size=16).double()
    poses = torch.randn(2, 3, 4, 3, 4, 4, dtype=torch.float64)
    presences = torch.rand(2, 3, 4, 3, dtype=torch.float64)
    with torch.no_grad():
        wide = torch.einsum(
            "rs,...de->...rdse", torch.eye(4, dtype=torch.float64), matrices.weights
        )
        vectors.weights.copy_(wide.flatten(-4, -3).flatten(-2))
    expected = matrices(Capsules(poses, presences), 0.5)
    result = vectors(Capsules(poses.flatten(-2), presences), 0.5)
    assert result.poses.shape == (2, 5, 16)
    torch.testing.assert_close(result.poses, expected.poses.flatten(-2))
    torch.testing.assert_close(result.presences, expected.presences)
    without_coordinates = ClassEMCapsules(3, 5, pose_size=16, coordinates=None).double()
    without_coordinates.load_state_dict(vectors.state_dict())
    assert not torch.allclose(
        without_coordinates(Capsules(poses.flatten(-2), presences), 0.5).poses, result.poses
    )
    assert coordinates(3, 4, like=poses).shape == (3, 4, 4, 4)


def test_initial_votes_are_as_large_as_those_of_matrices():
    torch.manual_seed(0)
    spreads = []
    for size in (4, 16):
        convolution = ConvEMCapsules(8, 8, kernel=3, stride=1, pose_size=size)
        noise = convolution.weights - PAPER.identity * torch.eye(size)
        spreads.append((size * noise.square().mean()).item())
    assert spreads[0] == pytest.approx(spreads[1], rel=0.05)
