"""Matrix capsules with EM routing: votes, coordinates, schedules, learning."""

import pytest
import torch

from capsbench.capsules.coordinates import PixelCoordinates
from capsbench.capsules.em_layers import EMCapsules
from capsbench.capsules.em_variants import AUTHORS_CODE, AUTHORS_CODE_CLASSES
from capsbench.capsules.losses import (
    margin_loss,
    spread_loss,
    spread_margin,
    spread_margin_sigmoid,
)
from capsbench.contracts import Batch, one_hot
from capsbench.errors import UserError
from capsbench.models._standardize import standardize
from capsbench.models.capsnet_em import CapsNetEM, CapsNetEMSmall
from capsbench.models.capsnet_em_paper import CapsNetEMCode, CapsNetEMPaper
from capsbench.viewpoint.views import Views

MODELS: list[type[CapsNetEM]] = [CapsNetEM, CapsNetEMSmall, CapsNetEMPaper, CapsNetEMCode]
every_model = pytest.mark.parametrize("cls", MODELS, ids=[cls.name for cls in MODELS])


def build(cls=CapsNetEM, image_shape=(1, 28, 28), **more):
    torch.manual_seed(0)
    small = {"channels": 8, "primary_types": 3, "types": (4, 5), "strides": (2, 1)}
    return cls(image_shape=image_shape, num_classes=10, **small | more)


def draw(count=4):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 1, 28, 28, generator=generator)
    return Batch(images, torch.arange(count) % 10, Views.identity(count), torch.arange(count))


@every_model
def test_votes_have_the_shapes_of_the_maps(cls):
    """32 pixels become maps of side 14, 14, 6 and 4 without padding."""
    model = cls(image_shape=(1, 32, 32), num_classes=5, types=(4, 3), primary_types=2, channels=4)
    capsules = model.primary(model.conv(torch.rand(1, 1, 32, 32)))
    shapes = []
    for layer in (*model.capsules, model.classes):
        assert isinstance(layer, EMCapsules)
        shapes.append(layer.vote_shape(capsules, 0.1))
        capsules = layer(capsules, 0.1)
    assert shapes == [(1, 6, 6, 4, 18, 16), (1, 4, 4, 3, 36, 16), (1, 1, 1, 5, 48, 16)]


@every_model
def test_a_few_steps_lower_the_loss_and_move_every_parameter(cls):
    model, batch = build(cls), draw(8)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    losses = []
    for _ in range(8):
        loss = model.loss(model(batch.images), batch, 0.0)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(
        not torch.equal(parameter, old)
        for parameter, old in zip(model.parameters(), before, strict=True)
    )


def test_losses_of_text_and_code():
    batch, presences = draw(), torch.rand(4, 10)
    targets = one_hot(batch.targets, 10)
    for cls, margin, share in (
        (CapsNetEMPaper, spread_margin(0.3), 1),
        (CapsNetEMCode, spread_margin_sigmoid(0.3), 10),
    ):
        model = build(cls)
        prediction = model(batch.images)._replace(presences=presences)
        expected = spread_loss(presences, targets, margin=margin) / share
        torch.testing.assert_close(model.loss(prediction, batch, 0.3), expected)


def test_loss_of_ours_is_the_cross_entropy_of_the_logits_without_the_inverse_temperature():
    batch, costs = draw(), 4 * torch.randn(4, 10)
    model = build()
    prediction = model(batch.images)
    shares = (20 * costs.double()).exp()
    expected = -(shares / shares.sum(dim=1, keepdim=True))[torch.arange(4), batch.targets].log()
    for temperature in (0.1, 30.0):  # in the second case most presences are exactly 0 or 1
        model.inverse_temperature.fill_(temperature)
        scaled = prediction._replace(scores=temperature * costs)
        torch.testing.assert_close(model.loss(scaled, batch, 0.3), expected.mean().float())
        torch.testing.assert_close(model.logits(scaled), 20 * costs)


def test_cross_entropy_of_the_paper_is_that_of_the_presences_logits():
    batch, logits = draw(), torch.randn(4, 10)
    model = build(CapsNetEMPaper, loss="cross-entropy")
    prediction = model(batch.images)._replace(scores=logits)
    expected = -logits.log_softmax(dim=1)[torch.arange(4), batch.targets].mean()
    torch.testing.assert_close(model.loss(prediction, batch, 0.3), expected)
    assert torch.equal(model.logits(prediction), logits)


def test_margin_loss_is_that_of_the_presences():
    batch, presences = draw(), torch.rand(4, 10)
    model = build(loss="margin")
    prediction = model(batch.images)._replace(presences=presences)
    expected = margin_loss(presences, one_hot(batch.targets, 10))
    torch.testing.assert_close(model.loss(prediction, batch, 0.3), expected)


def test_presences_of_classes_that_are_only_compared_are_their_shares():
    model, images = build(), draw().images
    hooked = []
    layer = model.layers_of_interest()["class presences"]
    model.addressed_modules()[layer.module].register_forward_hook(
        lambda _module, _inputs, output: hooked.append(output)
    )
    prediction = model(images)
    shares = (20 * (prediction.scores / model.inverse_temperature).double()).exp()
    expected = (shares / shares.sum(dim=1, keepdim=True)).float()
    torch.testing.assert_close(prediction.presences, expected)
    assert torch.equal(hooked[0], prediction.presences)
    torch.testing.assert_close(model.log_probabilities(prediction).exp(), expected)


@every_model
def test_scores_are_logits_of_the_presences_and_keep_their_gradient(cls):
    """At an inverse temperature of 1e4 the presences are exactly 0 or 1."""
    model, images = build(cls, loss="spread"), draw().images
    scores, presences, *_ = model(images)
    torch.testing.assert_close(presences, scores.sigmoid())
    model.inverse_temperature.fill_(1e4)
    scores, presences, *_ = model(images)
    assert ((presences == 0) | (presences == 1)).all()
    assert scores.isfinite().all()
    (gradient,) = torch.autograd.grad(scores[:, 3].sum(), model.classes.weights)
    assert gradient.isfinite().all() and gradient.any()


@every_model
def test_vector_poses_learn_and_have_sixteen_times_the_weights(cls):
    model, batch = build(cls, pose="vector"), draw(8)
    matrices = build(cls)
    prediction = model(batch.images)
    assert prediction.poses is not None
    assert prediction.poses.shape == (8, 10, 16)
    for ours, theirs in zip(model.capsules, matrices.capsules, strict=True):
        assert isinstance(ours, EMCapsules)
        assert isinstance(theirs, EMCapsules)
        assert ours.weights.numel() == 16 * theirs.weights.numel()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    losses = []
    for _ in range(8):
        loss = model.loss(model(batch.images), batch, 0.0)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert model.check_batch_independence(batch.images) < 1e-5


def test_code_has_the_initial_values_of_the_authors():
    torch.manual_seed(0)
    model = CapsNetEMCode(image_shape=(2, 32, 32), num_classes=5)
    assert model.conv.bias is not None
    assert torch.equal(model.conv.bias, torch.full((32,), 0.1))
    first, second = model.capsules
    assert isinstance(first, EMCapsules) and isinstance(second, EMCapsules)
    for weight, std in (
        (model.conv.weight, 0.05),
        (model.primary.pose.weight, 0.5),
        (model.primary.presence.weight, 3.0),
        (first.weights, 0.3),
        (second.weights, 0.3),
        (model.classes.weights, 0.01),
    ):
        # Truncation at two standard deviations reduces the standard deviation by 0.88.
        assert weight.std().item() == pytest.approx(0.88 * std, rel=0.05)
        assert weight.abs().max() <= 2 * std * 1.0001
    assert first.variant is AUTHORS_CODE and second.variant is AUTHORS_CODE
    assert model.classes.variant is AUTHORS_CODE_CLASSES
    zeros = torch.zeros(1, 32, 3, 3)
    torch.testing.assert_close(
        model.primary(zeros).presences, torch.full((1, 3, 3, 32), -1.0).sigmoid()
    )


def test_code_adds_pixel_coordinates_to_the_votes():
    model = build(CapsNetEMCode, (1, 40, 32))
    assert model.classes.coordinates == PixelCoordinates(image_size=(40, 32), stride=4, offset=8)
    assert build(CapsNetEMCode, coordinate_addition=False).classes.coordinates is None


def test_inverse_temperature_of_the_code_is_constant():
    model = build(CapsNetEMCode)
    for progress in (0.0, 0.5, 1.0):
        model.advance(progress)
        assert model.inverse_temperature.item() == pytest.approx(0.01)


@every_model
def test_too_small_images_are_refused_by_name(cls):
    with pytest.raises(UserError, match=rf"{cls.name} .*17 x 17"):
        build(cls, (1, 16, 17))


def test_inverse_temperature_rises_with_the_training_and_is_saved():
    images = draw().images
    model = build(inverse_temperature=(0.25, 2.0))
    scores = []
    for progress, expected in ((0.0, 0.25), (0.5, 1.125), (1.0, 2.0)):
        model.advance(progress)
        assert model.state_dict()["inverse_temperature"].item() == expected
        scores.append(model(images).scores)
    assert not torch.allclose(scores[0], scores[1])
    assert not torch.allclose(scores[1], scores[2])


def test_em_needs_one_stride_for_each_layer_of_types():
    with pytest.raises(UserError, match=r"types \[4, 5, 6\] and strides \[2\]"):
        build(types=(4, 5, 6), strides=(2,))
    model = build(types=(4, 5, 6), strides=(1, 1, 1))
    assert model(draw().images).scores.shape == (4, 10)


def test_coordinate_addition_shifts_the_class_poses():
    images = draw().images
    with_coordinates, without = (
        build(iterations=1, coordinate_addition=x)(images).poses for x in (True, False)
    )
    difference = (
        with_coordinates - without
    )  # with one iteration only the means shift, by about half the map
    assert ((difference[..., :2, 3] - 0.5).abs() < 0.2).all()
    assert difference[..., :3].abs().max() < 1e-4


def test_em_is_invariant_to_brightness_and_contrast():
    model, images = build().double(), draw().images.double()
    torch.testing.assert_close(model(0.1 + 0.5 * images).scores, model(images).scores)


def test_standardised_images_have_mean_0_and_variance_1():
    contrast = torch.tensor([0.3, 0.5, 0.8])[:, None, None, None]
    images = contrast * torch.rand(3, 2, 28, 20) + 0.2
    flat = standardize(images).flatten(start_dim=1).double()
    torch.testing.assert_close(flat.mean(dim=1), torch.zeros(3).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        flat.std(dim=1, correction=0), torch.ones(3).double(), rtol=1e-5, atol=0
    )


def test_uniform_image_becomes_zero_with_finite_gradient():
    images = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
    standardized = standardize(images)
    assert not standardized.any()
    (gradient,) = torch.autograd.grad(standardized.sum(), images)
    assert gradient.isfinite().all()


def test_standardise_accepts_an_empty_batch():
    assert standardize(torch.empty(0, 1, 4, 4)).shape == (0, 1, 4, 4)
