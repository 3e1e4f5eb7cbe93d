"""Attacks: their bounds, their optimum where it is known, what they leave alone."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from capsbench.contracts import Model, Prediction
from capsbench.errors import UserError
from capsbench.measures._adversarial import fgsm, loss_gradient, pgd, random_starts, wrong_classes
from capsbench.names import find

SHAPE = (1, 8, 8)
SMALL: dict[str, dict[str, Any]] = {
    "cnn-small": {"width": 4, "hidden": 8},
    "capsnet-dr": {
        "channels": 6,
        "kernel": 3,
        "primary_types": 2,
        "primary_dim": 4,
        "primary_kernel": 3,
        "class_dim": 4,
        "decoder": (8,),
    },
}


class Scored(Model):
    """A model whose scores are a function of the images."""

    def __init__(self, scores, image_shape=SHAPE, num_classes=2):
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.scores = scores

    def forward(self, images, views=None):
        return Prediction(self.scores(images))

    def loss(self, prediction, batch, progress):
        return prediction.scores.mean()


class Linear(Scored):
    def __init__(self, num_classes):
        super().__init__(None, num_classes=num_classes)
        self.scores = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))


class LogProbabilities(nn.Module):
    """A model as other libraries expect it: from images to logits."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model.log_probabilities(self.model(images))


class Dropping(Scored):
    """It does not look at most pixels while it learns."""

    def __init__(self):
        super().__init__(None)
        self.scores = nn.Sequential(
            nn.Dropout(0.9), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 2)
        )


def build(name, num_classes=4):
    torch.manual_seed(0)
    return find("models", name).load()(image_shape=SHAPE, num_classes=num_classes, **SMALL[name])


def seeded(*size):
    return torch.rand(*size, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def images():
    """Grey, with black and white pixels, where the range of values ends."""
    return (1.6 * seeded(6, *SHAPE) - 0.3).clamp(0, 1)


targets = torch.tensor([0, 1, 2, 3, 0, 1])
index = torch.tensor([5, 0, 17, 3, 8, 2])
ATTACKS = {
    "fgsm": fgsm,
    "bim": lambda *args: pgd(*args, steps=3, step=1 / 3),
    "pgd": lambda *args: pgd(*args, steps=3, starts=random_starts(index, SHAPE, "start")),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", SMALL)
@given(epsilons=st.lists(st.floats(0, 1.5, width=32), min_size=1, max_size=3))
@settings(max_examples=5, deadline=None)
def test_attacks_stay_within_epsilon_and_within_black_and_white(attack, targeted, name, epsilons):
    images = (1.6 * seeded(6, *SHAPE) - 0.3).clamp(0, 1)
    aims = (targets + 1) % 4 if targeted else None
    changed, _ = attack(build(name), images, targets, epsilons, aims)
    assert changed.shape == (len(epsilons), 6, *SHAPE)
    for epsilon, found in zip(epsilons, changed, strict=True):
        # The bounds as fp32 has them: a difference of two pixels is rounded once more.
        assert (found >= images - epsilon).all() and (found <= images + epsilon).all()
        assert found.min() >= 0 and found.max() <= 1
        if epsilon == 0:
            assert torch.equal(found, images)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_epsilon_zero_changes_no_bit(attack, images):
    found = attack(build("cnn-small"), images, targets, [0.0, 0.1])
    assert torch.equal(found.images[0], images)
    assert not torch.equal(found.images[1], images)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_the_optimum_of_a_linear_model_is_reached(attack, images):
    """Of two classes the loss is monotone in the difference of scores, so its optimum is known."""
    torch.manual_seed(1)
    model = Linear(2)
    true = targets % 2
    epsilons = [0.0, 0.05, 0.3, 1.0]
    weight = model.scores[1].weight[1] - model.scores[1].weight[0]
    uphill = torch.where(true[:, None] == 0, weight, -weight)
    for sign, aims in [(1, None), (-1, true)]:  # to aim at the true class is to go downhill
        changed, blind = attack(model, images, true, epsilons, aims)
        for epsilon, found in zip(epsilons, changed, strict=True):
            low = (images - epsilon).clamp(0, 1).flatten(1)
            high = (images + epsilon).clamp(0, 1).flatten(1)
            best = torch.where(sign * uphill > 0, high, low)
            torch.testing.assert_close(found.flatten(1), best, atol=1e-6, rtol=0)
        assert not blind.any()


def test_the_gradient_is_that_of_the_negative_log_probability(images):
    torch.manual_seed(1)
    model = Linear(3)
    weight = model.scores[1].weight.detach()
    true = targets % 3
    probabilities = model.scores(images).softmax(-1).detach()
    # d(-log p_y)/dx = sum_k p_k w_k - w_y
    expected = probabilities @ weight - weight[true]
    found = loss_gradient(model, images, true).flatten(1)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    aimed = loss_gradient(model, images, true, (true + 1) % 3).flatten(1)
    torch.testing.assert_close(
        aimed, weight[(true + 1) % 3] - probabilities @ weight, atol=1e-6, rtol=1e-5
    )
    # Two objects: the mean over both true classes.
    both = torch.tensor([[1, 1, 0]] * 6)
    mean = probabilities @ weight - (weight[0] + weight[1]) / 2
    torch.testing.assert_close(
        loss_gradient(model, images, both).flatten(1), mean, atol=1e-6, rtol=1e-5
    )


def naive_pgd(model, image, target, epsilon, start, steps, step, sign):
    """Image by image, written out."""
    point = (image + epsilon * start).clamp(0, 1)
    for _ in range(steps):
        point = point.clone().requires_grad_()
        loss = -model.log_probabilities(model(point[None]))[0, target]
        loss.backward()
        moved = point.detach() + step * epsilon * sign * point.grad.sign()
        point = (image + (moved - image).clamp(-epsilon, epsilon)).clamp(0, 1)
    model.zero_grad()
    return point


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("targeted", [False, True])
def test_batches_agree_with_a_loop_over_images(name, targeted, images):
    model = build(name)
    starts = random_starts(index, SHAPE, "start")
    aims = (targets + 1) % 4 if targeted else None
    found = pgd(model, images, targets, [0.1], aims, steps=3, step=0.5, starts=starts).images[0]
    goals, sign = (targets, 1) if aims is None else (aims, -1)
    for one, image, goal, start in zip(found, images, goals, starts, strict=True):
        expected = naive_pgd(model, image, goal, 0.1, start, 3, 0.5, sign)
        # The sign of a gradient near 0 may differ by rounding.
        assert ((one - expected).abs() < 1e-6).float().mean() > 0.98


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("targeted", [False, True])
def test_fgsm_and_pgd_agree_with_torchattacks(name, targeted, images):
    torchattacks = pytest.importorskip("torchattacks")
    model = build(name).eval()
    logits = LogProbabilities(model)
    theirs = {
        "fgsm": torchattacks.FGSM(logits, eps=0.1),
        "pgd": torchattacks.PGD(logits, eps=0.1, alpha=0.03, steps=4, random_start=False),
    }
    aims = (targets + 1) % 4 if targeted else None
    ours = {
        "fgsm": fgsm(model, images, targets, [0.1], aims),
        "pgd": pgd(model, images, targets, [0.1], aims, steps=4, step=0.3),
    }
    for key, attack in theirs.items():
        if aims is not None:
            attack.set_mode_targeted_by_function(lambda _, labels: (labels + 1) % 4)
        differs = (attack(images, targets) - ours[key].images[0]).abs() > 1e-6
        assert differs.float().mean() < 0.02


def test_the_model_is_left_as_it_was(images):
    model, true = Dropping().train(), targets % 2
    model.scores[1].eval()
    modes = [module.training for module in model.modules()]
    model.scores[3].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    asked = [parameter.requires_grad for parameter in model.parameters()]
    with torch.no_grad():
        found = pgd(model, images, true, [0.1], steps=2)
        again = pgd(model, images, true, [0.1], steps=2)
    assert torch.equal(found.images, again.images)  # dropout is off
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == asked
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not found.images.requires_grad and not images.requires_grad


def saturated(images):
    """Its gradient is 0 where an image's mean lies below a half."""
    brightness = images.mean(dim=(1, 2, 3))
    return torch.stack([torch.relu(brightness - 0.5), torch.full_like(brightness, 0.1)], dim=1)


def test_images_without_gradient_are_told():
    model = Scored(saturated)
    images = torch.stack([torch.full(SHAPE, 0.2), torch.full(SHAPE, 0.8)])
    true = torch.tensor([1, 1])
    assert fgsm(model, images, true, [0.1, 0.5]).blind.tolist() == [[True, False]] * 2
    found = pgd(model, images, true, [0.1, 0.5], steps=2)
    assert found.blind.tolist() == [[True, False]] * 2
    assert torch.equal(found.images[:, 0], images[None, 0].expand(2, -1, -1, -1))
    # A random start may lead to where there is one, if the box is large enough.
    away = pgd(model, images, true, [0.1, 0.5], steps=2, starts=torch.ones(2, *SHAPE))
    assert away.blind.tolist() == [[True, False], [False, False]]


def test_a_gradient_that_is_not_a_number_gives_no_direction():
    model = Scored(lambda images: images.sqrt().mean(dim=(2, 3)).repeat(1, 2))
    black = torch.zeros(1, *SHAPE)
    found = pgd(model, black, torch.tensor([0]), [0.1], steps=2)
    assert found.blind.all()
    assert torch.equal(found.images[0], black)


def test_starts_belong_to_images_not_to_batches():
    together = random_starts(index, SHAPE, 0, "start")
    assert together.min() >= -1 and together.max() <= 1
    assert together.min() < -0.9 and together.max() > 0.9
    assert together.mean().abs() < 0.1
    assert torch.equal(random_starts(index.flip(0)[:2], SHAPE, 0, "start"), together.flip(0)[:2])
    assert not torch.equal(random_starts(index, SHAPE, 1, "start"), together)
    assert not torch.equal(together[0], together[1])


def test_aims_are_wrong_uniform_and_belong_to_images():
    number = torch.arange(4000)
    true = number % 5
    aims = wrong_classes(true, number, 5, 0, "aims")
    assert (aims != true).all()
    counts = torch.bincount(5 * true + aims, minlength=25).reshape(5, 5)
    assert counts.diagonal().sum() == 0
    assert (counts[~torch.eye(5, dtype=torch.bool)] - 200).abs().max() < 60  # 4.7 deviations
    chosen = torch.tensor([17, 3, 3999])
    assert torch.equal(wrong_classes(true[chosen], chosen, 5, 0, "aims"), aims[chosen])
    assert not torch.equal(wrong_classes(true, number, 5, 1, "aims"), aims)


def test_aims_of_images_with_several_objects_are_none_of_them():
    true = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 1]]).repeat(200, 1)
    aims = wrong_classes(true, torch.arange(400), 4, "aims")
    assert set(aims[::2].tolist()) == {2, 3} and set(aims[1::2].tolist()) == {0, 2}


def test_what_cannot_be_attacked_is_refused(images):
    model = build("cnn-small")
    with pytest.raises(UserError, match="epsilons of at least 0"):
        fgsm(model, images, targets, [])
    with pytest.raises(UserError, match="epsilons of at least 0"):
        pgd(model, images, targets, [0.1, -0.1])
    with pytest.raises(UserError, match="at least one step"):
        pgd(model, images, targets, [0.1], steps=0)
    with pytest.raises(UserError, match="of a length above 0"):
        pgd(model, images, targets, [0.1], step=0.0)
    with pytest.raises(UserError, match="attack it untargeted"):
        wrong_classes(torch.ones(2, 3), torch.arange(2), 3)
