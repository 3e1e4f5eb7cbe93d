"""EM routing of vector poses: the same as of matrices where the maps are the same."""

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
    """Poses (..., 4, 4) as rows (..., 1, 16), and 4 x 4 maps as the 16 x 16 that do the same."""
    rows = matrices.poses.flatten(-2).unsqueeze(-2)
    maps = torch.einsum("rs,...de->...rdse", torch.eye(4).to(matrices.weights), matrices.weights)
    return matrices._replace(poses=rows, weights=maps.flatten(-4, -3).flatten(-2))


@pytest.mark.parametrize("variant", [PAPER, AUTHORS_CODE])
@pytest.mark.parametrize("stride", [1, 2])
def test_maps_that_act_on_rows_alone_route_as_matrices_do(variant, stride):
    matrices = layer(size=(4, 4))
    how = {"variant": variant, "stride": stride}
    expected = matrices.route(**how, backend="textbook")
    found = as_vectors(matrices).route(**how)
    torch.testing.assert_close(found.poses.squeeze(-2), expected.poses.flatten(-2))
    torch.testing.assert_close(found.presences, expected.presences)
    torch.testing.assert_close(found.assignments, expected.assignments)


def test_a_fast_form_is_refused():
    vectors = as_vectors(layer())
    with pytest.raises(
        UserError, match="vector poses are routed in the textbook form; got 'eager'"
    ):
        vectors.route(router=em_routing, backend="eager")


def test_layers_give_vectors_and_are_told_where_votes_come_from():
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
    found = vectors(Capsules(poses.flatten(-2), presences), 0.5)
    assert found.poses.shape == (2, 5, 16)
    torch.testing.assert_close(found.poses, expected.poses.flatten(-2))
    torch.testing.assert_close(found.presences, expected.presences)
    unaware = ClassEMCapsules(3, 5, pose_size=16, coordinates=None).double()
    unaware.load_state_dict(vectors.state_dict())
    assert not torch.allclose(
        unaware(Capsules(poses.flatten(-2), presences), 0.5).poses, found.poses
    )
    assert coordinates(3, 4, like=poses).shape == (3, 4, 4, 4)


def test_votes_start_as_large_as_those_of_matrices():
    torch.manual_seed(0)
    spreads = []
    for size in (4, 16):
        convolution = ConvEMCapsules(8, 8, kernel=3, stride=1, pose_size=size)
        noise = convolution.weights - PAPER.identity * torch.eye(size)
        spreads.append((size * noise.square().mean()).item())
    assert spreads[0] == pytest.approx(spreads[1], rel=0.05)
