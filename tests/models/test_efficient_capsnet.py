"""Efficient-CapsNet: the whole network against its equations, and refused arguments."""

import math

import pytest
import torch
from torch.nn import functional as F

from capsbench.errors import UserError


def squash(vectors):
    norm = vectors.norm(dim=-1, keepdim=True)
    return (1 - (-norm).exp()) * vectors / norm


def test_the_network_is_that_of_its_equations(build):
    model = build("efficient-capsnet", channels=(4, 6, 6, 8), primary_dim=2).double().eval()
    images = torch.rand(3, 1, 28, 28, dtype=torch.float64)
    features = images
    for stride, (conv, _, norm) in zip(
        (1, 1, 1, 2), (model.conv1, model.conv2, model.conv3, model.conv4), strict=True
    ):
        features = F.relu(F.conv2d(features, conv.weight, conv.bias, stride))
        features = (features - norm.running_mean[:, None, None]) * norm.weight[:, None, None]
        features = features / (norm.running_var[:, None, None] + 1e-5).sqrt()
    depthwise = model.primary.conv
    assert depthwise.weight.shape == (8, 1, 9, 9)
    pooled = torch.einsum("bchw,chw->bc", features, depthwise.weight[:, 0]) + depthwise.bias
    children = squash(pooled.unflatten(1, (4, 2)))
    votes = torch.einsum("bid,ijde->bjie", children, model.classes.weights)
    pairs = torch.einsum("bjie,bjke->bjik", votes, votes) / math.sqrt(16)
    couplings = pairs.sum(dim=-1).softmax(dim=1) + model.classes.bias.T
    parents = squash((couplings[..., None] * votes).sum(dim=2))
    prediction = model(images)
    torch.testing.assert_close(prediction.poses, parents, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(prediction.scores, parents.norm(dim=-1), rtol=1e-5, atol=1e-7)


def test_channels_that_make_no_whole_capsules_are_refused(build):
    with pytest.raises(UserError, match="128 channels, no multiple of primary_dim 7"):
        build("efficient-capsnet", channels=(4, 6, 6, 128), primary_dim=7)
