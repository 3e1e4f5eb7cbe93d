"""Capsule networks with dynamic routing: decoder, loss, initialisation."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from capsbench.contracts import Batch, one_hot
from capsbench.viewpoint.views import Views

SMALL_IMAGES: dict[str, Any] = {"image_shape": (1, 20, 22), "num_classes": 4}


def draw(count=4):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 1, 20, 22, generator=generator)
    targets = torch.arange(count) % 4
    return Batch(images, targets, Views.identity(count), torch.arange(count))


def test_scores_are_the_lengths_of_the_class_capsules(build):
    prediction = build("capsnet-dr", **SMALL_IMAGES)(draw().images)
    assert torch.equal(prediction.scores, prediction.presences)
    torch.testing.assert_close(prediction.scores, prediction.poses.norm(dim=-1))


def test_decoder_draws_the_predicted_class_and_learns_the_true_one(build):
    model, batch = build("capsnet-dr", reconstruction_weight=1.0, **SMALL_IMAGES), draw()
    prediction = model(batch.images)
    predicted = one_hot(prediction.scores.argmax(dim=1), 4)
    assert torch.equal(prediction.reconstruction, model.decoder(prediction.poses, predicted))

    prediction = prediction._replace(poses=torch.randn_like(prediction.poses))
    drawn = model.decoder(prediction.poses, one_hot(batch.targets, 4))
    error = (drawn - batch.images).square().sum(dim=(1, 2, 3)).mean()
    model.reconstruction_weight = 0.0
    without = model.loss(prediction, batch, 0.5)
    model.reconstruction_weight = 1.0
    torch.testing.assert_close(model.loss(prediction, batch, 0.5), without + error)


def test_model_without_a_decoder_reconstructs_nothing(build):
    model, batch = build("capsnet-dr", decoder=(), **SMALL_IMAGES), draw()
    prediction = model(batch.images)
    assert prediction.reconstruction is None
    assert model.loss(prediction, batch, 0.5).isfinite()


@pytest.mark.parametrize(("num_classes", "weight"), [(5, 0.005), (10, 0.01)])
def test_reconstruction_weight_of_the_code_fits_its_own_loss(build, num_classes, weight):
    """The code's own loss: margin loss halved and averaged over classes, plus 0.0005 x error."""
    text, code = (
        build(name, (1, 17, 17), num_classes) for name in ("capsnet-dr", "capsnet-dr-code")
    )
    assert text.reconstruction_weight == 0.0005
    assert code.reconstruction_weight == pytest.approx(weight)
    images = torch.rand(3, 1, 17, 17)
    batch = Batch(images, torch.arange(3), Views.identity(3), torch.arange(3))
    prediction = code(images)
    targets = one_hot(batch.targets, num_classes)
    positive = targets * F.relu(0.9 - prediction.scores).square()
    negative = (1 - targets) * F.relu(prediction.scores - 0.1).square()
    margin = (0.5 * positive + 0.5 * 0.5 * negative).mean()
    assert code.decoder is not None and prediction.poses is not None
    drawn = code.decoder(prediction.poses, targets)
    error = (drawn - images).square().sum(dim=(1, 2, 3)).mean()
    expected = margin + 0.0005 * error
    loss = 0.5 / num_classes * code.loss(prediction, batch, 0.0)
    torch.testing.assert_close(loss, expected)


def test_code_accepts_another_reconstruction_weight(build):
    assert build("capsnet-dr-code", reconstruction_weight=0.0).reconstruction_weight == 0


def test_code_initialises_truncated_normals_and_biases_of_a_tenth(build):
    model = build("capsnet-dr-code", **SMALL_IMAGES)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0.1).all(), name
        else:
            std = 0.05 if name == "conv.weight" else 0.1
            # Truncation at two standard deviations reduces the standard deviation by 0.88.
            assert parameter.abs().max() <= 2 * std, name
            assert parameter.std().item() == pytest.approx(0.88 * std, rel=0.12), name


def test_code_adds_biases_after_the_division_of_primary_capsules_and_after_routing(build):
    model = build("capsnet-dr-code", **SMALL_IMAGES)
    features = F.relu(model.conv(draw().images))
    conv = model.primary.conv
    voted = F.conv2d(features, conv.weight, stride=2) / 3 + conv.bias[:, None, None]
    s = voted[:, 4:8, 1, 0]  # the second type at row 1, column 0
    norm = s.norm(dim=1, keepdim=True)
    primary = model.primary(features)
    torch.testing.assert_close(primary.poses[:, 1, 0, 1], norm * s / (1 + norm.square()))

    zeros = torch.zeros(1, *model.classes.weights.shape[::2])  # (1, I, D): the bias alone
    bias = model.classes.bias
    norm = bias.norm(dim=1, keepdim=True)
    poses = model.classes(zeros).poses
    torch.testing.assert_close(poses[0], norm * bias / (1 + norm.square()))
    assert build("capsnet-dr").classes.bias is None
