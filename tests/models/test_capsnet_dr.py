"""The capsule networks with dynamic routing: counts of the paper and the code, decoder, loss."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from capsbench.contracts import Batch, one_hot
from capsbench.models.capsnet_dr import CapsNetDR, CapsNetDRCode
from capsbench.viewpoint.views import Views

SMALL: dict[str, Any] = {
    "channels": 8,
    "primary_types": 3,
    "primary_dim": 4,
    "class_dim": 6,
    "decoder": (8,),
}


def build(cls=CapsNetDR, **more):
    torch.manual_seed(0)
    return cls(image_shape=(1, 20, 22), num_classes=4, **(SMALL | more))


def draw(count=4):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 1, 20, 22, generator=generator)
    targets = torch.arange(count) % 4
    return Batch(images, targets, Views.identity(count), torch.arange(count))


@pytest.mark.parametrize(
    ("cls", "size", "with_decoder", "without"),
    [
        (CapsNetDR, 28, 8_215_568, 6_804_224),
        (CapsNetDR, 36, 11_361_808, 9_425_664),
        (CapsNetDR, 40, 13_475_648, 11_227_904),
        (CapsNetDRCode, 28, 8_215_728, 6_804_384),
        (CapsNetDRCode, 36, 11_361_968, 9_425_824),
        (CapsNetDRCode, 40, 13_475_808, 11_228_064),
    ],
)
def test_parameters_are_those_of_the_paper_and_of_the_code(cls, size, with_decoder, without):
    for arguments, expected in (({}, with_decoder), ({"decoder": ()}, without)):
        with torch.device("meta"):
            model = cls(image_shape=(1, size, size), num_classes=10, **arguments)
        assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_scores_are_the_lengths_of_the_class_capsules():
    prediction = build()(draw().images)
    assert torch.equal(prediction.scores, prediction.presences)
    torch.testing.assert_close(prediction.scores, prediction.poses.norm(dim=-1))


def test_decoder_draws_the_likeliest_class_and_learns_to_draw_the_true_one():
    model, batch = build(reconstruction_weight=1.0), draw()
    prediction = model(batch.images)
    likeliest = one_hot(prediction.scores.argmax(dim=1), 4)
    assert torch.equal(prediction.reconstruction, model.decoder(prediction.poses, likeliest))

    prediction = prediction._replace(poses=torch.randn_like(prediction.poses))
    drawn = model.decoder(prediction.poses, one_hot(batch.targets, 4))
    error = (drawn - batch.images).square().sum(dim=(1, 2, 3)).mean()
    model.reconstruction_weight = 0.0
    without = model.loss(prediction, batch, 0.5)
    model.reconstruction_weight = 1.0
    torch.testing.assert_close(model.loss(prediction, batch, 0.5), without + error)


def test_model_without_a_decoder_reconstructs_nothing():
    model, batch = build(decoder=()), draw()
    prediction = model(batch.images)
    assert prediction.reconstruction is None
    assert model.loss(prediction, batch, 0.5).isfinite()


def test_code_weighs_the_reconstruction_20_times_as_much_as_the_text():
    """The code's own loss: margin loss halved and averaged over ten classes, 0.0005 beside it."""
    text, code = (
        cls(image_shape=(1, 17, 17), num_classes=10, **SMALL) for cls in (CapsNetDR, CapsNetDRCode)
    )
    assert (text.reconstruction_weight, code.reconstruction_weight) == (0.0005, 0.01)
    images = torch.rand(3, 1, 17, 17)
    batch = Batch(images, torch.arange(3), Views.identity(3), torch.arange(3))
    prediction = code(images)
    targets = one_hot(batch.targets, 10)
    positive = targets * F.relu(0.9 - prediction.scores).square()
    negative = (1 - targets) * F.relu(prediction.scores - 0.1).square()
    margin = (0.5 * positive + 0.5 * 0.5 * negative).mean()
    assert code.decoder is not None and prediction.poses is not None
    drawn = code.decoder(prediction.poses, targets)
    error = (drawn - images).square().sum(dim=(1, 2, 3)).mean()
    expected = margin + 0.0005 * error
    torch.testing.assert_close(0.05 * code.loss(prediction, batch, 0.0), expected)


def test_code_starts_at_truncated_normals_and_biases_of_a_tenth():
    model = build(CapsNetDRCode)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0.1).all(), name
        else:
            std = 0.05 if name == "conv.weight" else 0.1
            # A normal distribution cut at two of its standard deviations has 0.88 of them.
            assert parameter.abs().max() <= 2 * std, name
            assert parameter.std().item() == pytest.approx(0.88 * std, rel=0.12), name


def test_code_adds_a_bias_after_the_shares_of_the_primary_capsules_and_of_the_routed_sum():
    model = build(CapsNetDRCode)
    features = F.relu(model.conv(draw().images))
    conv = model.primary.conv
    voted = F.conv2d(features, conv.weight, stride=2) / 3 + conv.bias[:, None, None]
    s = voted[:, 4:8, 1, 0]  # the second type at row 1, column 0
    norm = s.norm(dim=1, keepdim=True)
    primary = model.primary(features)
    torch.testing.assert_close(primary.poses[:, 1, 0, 1], norm * s / (1 + norm.square()))

    nothing = torch.zeros(1, *model.classes.weights.shape[::2])  # (1, I, D): the bias alone
    bias = model.classes.bias
    norm = bias.norm(dim=1, keepdim=True)
    poses = model.classes(nothing).poses
    torch.testing.assert_close(poses[0], norm * bias / (1 + norm.square()))
    assert build().classes.bias is None
