import torch

from capsbench.capsules.primary import MatrixPrimaryCapsules, VectorPrimaryCapsules


def test_vector_capsules_are_the_channels_of_a_convolution_squashed():
    torch.manual_seed(0)
    layer = VectorPrimaryCapsules(3, types=2, dim=5, kernel=3, stride=2)
    features = torch.randn(2, 3, 7, 9)
    poses, presences = layer(features)
    assert poses.shape == (2, 3, 4, 2, 5)
    raw = layer.conv(features)[:, 5:, 1, 2]  # second type at row 1, column 2
    pose = poses[:, 1, 2, 1]
    cosine = torch.nn.functional.cosine_similarity(raw, pose)
    torch.testing.assert_close(cosine, torch.ones(2))
    torch.testing.assert_close(presences, poses.norm(dim=-1), rtol=1e-4, atol=1e-4)
    assert (presences < 1).all()


def test_matrix_capsules_are_a_linear_pose_and_a_probability():
    torch.manual_seed(0)
    layer = MatrixPrimaryCapsules(3, types=2)
    features = torch.randn(2, 3, 4, 5)
    poses, presences = layer(features)
    assert poses.shape == (2, 4, 5, 2, 4, 4)
    assert presences.shape == (2, 4, 5, 2)
    torch.testing.assert_close(layer(2 * features).poses, 2 * poses)
    assert ((presences > 0) & (presences < 1)).all()
    assert sum(p.numel() for p in layer.parameters()) == 3 * 2 * 17
