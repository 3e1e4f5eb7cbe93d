import pytest
import torch

from capsbench.capsules.primary import MatrixPrimaryCapsules, VectorPrimaryCapsules


def test_vector_capsules_are_squashed_channels_of_a_convolution():
    torch.manual_seed(0)
    layer = VectorPrimaryCapsules(3, types=2, dim=5, kernel=3, stride=2)
    features = torch.randn(2, 3, 7, 9)
    poses, presences = layer(features)
    assert poses.shape == (2, 3, 4, 2, 5)
    raw = layer.conv(features)[:, 5:, 1, 2]  # second type at row 1, column 2
    pose = poses[:, 1, 2, 1]
    cosine = torch.nn.functional.cosine_similarity(raw, pose)
    torch.testing.assert_close(cosine, torch.ones(2))
    torch.testing.assert_close(presences, poses.norm(dim=-1))
    assert (presences < 1).all()


def test_routed_vector_capsules_get_a_share_of_the_convolution_and_the_whole_bias():
    torch.manual_seed(0)
    layer = VectorPrimaryCapsules(3, types=4, dim=2, kernel=3, stride=2, routed=True)
    features = 3 * torch.randn(2, 3, 7, 9)
    assert layer.conv.bias is not None
    bias = layer.conv.bias[:, None, None]
    s = ((layer.conv(features) - bias) / 4 + bias)[:, 2:4, 1, 2]
    norm = s.norm(dim=1, keepdim=True)
    torch.testing.assert_close(layer(features).poses[:, 1, 2, 1], norm * s / (1 + norm.square()))


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e30])
def test_presences_of_vector_capsules_are_lengths_below_one(scale, monkeypatch):
    torch.manual_seed(0)
    layer = VectorPrimaryCapsules(3, types=2, dim=5, kernel=3, stride=2)
    features = scale * torch.randn(2, 3, 7, 9)
    assert layer.check_presences(features) < 1e-6
    monkeypatch.setattr("capsbench.capsules.primary.squash", lambda vectors: 10 + vectors)
    monkeypatch.setattr("capsbench.capsules.primary.length", lambda poses: poses.norm(dim=-1))
    assert layer.check_presences(features) > 1


def test_matrix_capsules_are_a_linear_pose_and_a_probability():
    torch.manual_seed(0)
    layer = MatrixPrimaryCapsules(3, types=2)
    features = torch.randn(2, 3, 4, 5)
    poses, presences = layer(features)
    assert poses.shape == (2, 4, 5, 2, 4, 4)
    assert presences.shape == (2, 4, 5, 2)
    torch.testing.assert_close(layer(2 * features).poses, 2 * poses)
    assert ((presences > 0) & (presences < 1)).all()
    assert layer.check_presences(1e30 * features) == 0
    assert sum(p.numel() for p in layer.parameters()) == 3 * 2 * 17


def test_check_fails_for_presences_that_are_not_probabilities(monkeypatch):
    layer = MatrixPrimaryCapsules(3, types=2)
    monkeypatch.setattr(torch.Tensor, "sigmoid", lambda logits: logits - 1)
    assert layer.check_presences(torch.zeros(2, 3, 4, 5)) == 1
