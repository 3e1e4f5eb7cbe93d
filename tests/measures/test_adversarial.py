"""Attacks: their bounds, their optimum on linear models, and other libraries' attacks."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from capsbench.contracts import Model, Prediction
from capsbench.errors import UserError
from capsbench.measures._adversarial import fgsm, pgd
from capsbench.measures._apgd import apgd
from capsbench.measures._attack_draws import random_starts, square_draws
from capsbench.measures._square import square
from capsbench.names import find
from tests.measures.fixed_network import (
    NUM_CLASSES,
    FixedNetwork,
    fixed_images,
    fixed_labels,
    torchattacks_values,
)

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


class Dropping(Scored):
    """It drops most pixels in training mode."""

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
    """Grey images with black and white pixels, the ends of the range."""
    return (1.6 * seeded(6, *SHAPE) - 0.3).clamp(0, 1)


LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
INDEX = torch.tensor([5, 0, 17, 3, 8, 2])
ATTACKS = {
    "fgsm": fgsm,
    "bim": lambda *args: pgd(*args, steps=3, step=1 / 3),
    "pgd": lambda *args: pgd(*args, steps=3, starts=random_starts(INDEX, SHAPE, "start")),
    "apgd": lambda *args: apgd(*args, steps=3, starts=random_starts(INDEX, SHAPE, "start")),
    "apgd on dlr": lambda *args: apgd(
        *args, loss="dlr", steps=3, starts=random_starts(INDEX, SHAPE, "start"), early_stop=False
    ),
    "square": lambda *args: square(
        *args, queries=12, draws=square_draws(INDEX, SHAPE, 12, "squares")
    ),
}
CLIMBING = ("fgsm", "bim", "pgd")  # go on to the largest loss in reach


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
@pytest.mark.parametrize("targeted", [False, True])
@given(epsilons=st.lists(st.floats(0, 1.5, width=32), min_size=1, max_size=3))
@settings(max_examples=5, deadline=None)
def test_attacks_stay_within_epsilon_and_within_black_and_white(attack, targeted, epsilons):
    images = (1.6 * seeded(6, *SHAPE) - 0.3).clamp(0, 1)
    target_classes = (LABELS + 1) % 4 if targeted else None
    changed = attack(build("cnn-small"), images, LABELS, epsilons, target_classes).images
    assert changed.shape == (len(epsilons), 6, *SHAPE)
    for epsilon, attacked in zip(epsilons, changed, strict=True):
        # The bounds as fp32 has them: a difference of two pixels is rounded once more.
        assert (attacked >= images - epsilon).all() and (attacked <= images + epsilon).all()
        assert attacked.min() >= 0 and attacked.max() <= 1
        if epsilon == 0:
            assert torch.equal(attacked, images)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_epsilon_zero_changes_no_bit(attack, images):
    attacked = attack(build("cnn-small"), images, LABELS, [0.0, 0.1])
    assert torch.equal(attacked.images[0], images)
    assert not torch.equal(attacked.images[1], images)


@pytest.mark.parametrize("name", CLIMBING)
def test_attacks_reach_the_optimum_of_a_linear_model(name, images):
    """Of two classes the loss is monotone in the difference of scores, so its optimum is known."""
    torch.manual_seed(1)
    model = Linear(2)
    labels = LABELS % 2
    epsilons = [0.0, 0.05, 0.3, 1.0]
    weight = model.scores[1].weight[1] - model.scores[1].weight[0]
    uphill = torch.where(labels[:, None] == 0, weight, -weight)
    for sign, target_classes in [(1, None), (-1, labels)]:  # a true class as the target is downhill
        result = ATTACKS[name](model, images, labels, epsilons, target_classes)
        for epsilon, attacked in zip(epsilons, result.images, strict=True):
            low = (images - epsilon).clamp(0, 1).flatten(1)
            high = (images + epsilon).clamp(0, 1).flatten(1)
            best = torch.where(sign * uphill > 0, high, low)
            torch.testing.assert_close(attacked.flatten(1), best, atol=1e-6, rtol=0)
        assert not zero_gradient(result).any()


def naive_pgd(model, image, label, epsilon, start, steps, step, sign):
    """Attack a single image by autograd."""
    point = (image + epsilon * start).clamp(0, 1)
    for _ in range(steps):
        point = point.clone().requires_grad_()
        loss = -model.log_probabilities(model(point[None]))[0, label]
        loss.backward()
        moved = point.detach() + step * epsilon * sign * point.grad.sign()
        point = (image + (moved - image).clamp(-epsilon, epsilon)).clamp(0, 1)
    model.zero_grad()
    return point


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("targeted", [False, True])
def test_batches_agree_with_a_loop_over_images(name, targeted, images):
    model = build(name)
    starts = random_starts(INDEX, SHAPE, "start")
    target_classes = (LABELS + 1) % 4 if targeted else None
    attacked = pgd(
        model, images, LABELS, [0.1], target_classes, steps=3, step=0.5, starts=starts
    ).images[0]
    classes, sign = (LABELS, 1) if target_classes is None else (target_classes, -1)
    for one, image, label, start in zip(attacked, images, classes, starts, strict=True):
        expected = naive_pgd(model, image, label, 0.1, start, 3, 0.5, sign)
        # The sign of a gradient near 0 may differ by rounding.
        assert ((one - expected).abs() < 1e-6).float().mean() > 0.98


@pytest.mark.parametrize("targeted", [False, True])
def test_fgsm_and_pgd_agree_with_torchattacks(targeted):
    model, images, labels = FixedNetwork(), fixed_images(), fixed_labels()
    target_classes = (labels + 1) % NUM_CLASSES if targeted else None
    ours = {
        "fgsm": fgsm(model, images, labels, [0.1], target_classes),
        "pgd": pgd(model, images, labels, [0.1], target_classes, steps=4, step=0.3),
    }
    for name, attacked in ours.items():
        theirs = torchattacks_values()[f"{name} targeted" if targeted else name]
        # The sign of a gradient near 0 may differ by rounding.
        assert ((attacked.images[0] - theirs).abs() < 1e-6).float().mean() > 0.98


def test_an_attack_does_not_change_the_model(images):
    model, labels = Dropping().train(), LABELS % 2
    model.scores[1].eval()
    modes = [module.training for module in model.modules()]
    model.scores[3].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    requires_grad = [parameter.requires_grad for parameter in model.parameters()]
    with torch.no_grad():
        attacked = pgd(model, images, labels, [0.1], steps=2)
        again = pgd(model, images, labels, [0.1], steps=2)
    assert torch.equal(attacked.images, again.images)  # dropout is off
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not attacked.images.requires_grad and not images.requires_grad


def saturated(images):
    """Return scores with a gradient of 0 if the image's mean is below a half."""
    brightness = images.mean(dim=(1, 2, 3))
    return torch.stack([torch.relu(brightness - 0.5), torch.full_like(brightness, 0.1)], dim=1)


def zero_gradient(attacked):
    assert attacked.zero_gradient is not None
    return attacked.zero_gradient


def test_images_without_gradient_are_marked():
    model = Scored(saturated)
    images = torch.stack([torch.full(SHAPE, 0.2), torch.full(SHAPE, 0.8)])
    labels = torch.tensor([1, 1])
    attacked = fgsm(model, images, labels, [0.1, 0.5])
    assert zero_gradient(attacked).tolist() == [[True, False]] * 2
    attacked = pgd(model, images, labels, [0.1, 0.5], steps=2)
    assert zero_gradient(attacked).tolist() == [[True, False]] * 2
    assert torch.equal(attacked.images[:, 0], images[None, 0].expand(2, -1, -1, -1))
    # A start in a large box may have a gradient.
    away = pgd(model, images, labels, [0.1, 0.5], steps=2, starts=torch.ones(2, *SHAPE))
    assert zero_gradient(away).tolist() == [[True, False], [False, False]]


def test_a_nan_gradient_counts_as_zero():
    model = Scored(lambda images: images.sqrt().mean(dim=(2, 3)).repeat(1, 2))
    black = torch.zeros(1, *SHAPE)
    attacked = pgd(model, black, torch.tensor([0]), [0.1], steps=2)
    assert zero_gradient(attacked).all()
    assert torch.equal(attacked.images[0], black)


def test_invalid_attacks_are_refused(images):
    model = build("cnn-small")
    with pytest.raises(UserError, match="epsilons of at least 0"):
        fgsm(model, images, LABELS, [])
    with pytest.raises(UserError, match="epsilons of at least 0"):
        pgd(model, images, LABELS, [0.1, -0.1])
    with pytest.raises(UserError, match="at least one step"):
        pgd(model, images, LABELS, [0.1], steps=0)
    with pytest.raises(UserError, match="of a length above 0"):
        pgd(model, images, LABELS, [0.1], step=0.0)
    with pytest.raises(UserError, match="at least one step"):
        apgd(model, images, LABELS, [0.1], steps=0, starts=images)
    with pytest.raises(UserError, match="at least one query"):
        square(model, images, LABELS, [0.1], queries=0, draws=square_draws(INDEX, SHAPE, 0, "a"))
