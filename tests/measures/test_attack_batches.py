"""Outcomes of attacks: classes of attacked images, by epsilon and image."""

import pytest
import torch

from capsbench.contracts import Model, Prediction
from capsbench.measures._adversarial import fgsm
from capsbench.measures._attack_batches import (
    AttackBatch,
    AttackBudget,
    attack_batches,
    attack_outcomes,
)
from tests.measures.fixed_network import FixedNetwork, fixed_images, fixed_labels


class FirstRow(Model):
    """Its scores are the pixels of the image's first row, times a sign."""

    def __init__(self, sign=1.0):
        super().__init__(image_shape=(1, 1, 3), num_classes=3)
        self.sign = sign

    def forward(self, images, views=None):
        return Prediction(self.sign * images[:, 0, 0])

    def loss(self, prediction, batch, progress):
        return prediction.scores.mean()


def row(*pixels):
    return torch.tensor(pixels)[None, None]


def test_outcomes_are_by_epsilon_and_image():
    images = torch.stack([row(0.9, 0.1, 0.2), row(0.5, 0.4, 0.1), row(0.1, 0.2, 0.9)])
    labels, target_classes = torch.tensor([0, 0, 0]), torch.tensor([2, 1, 2])
    changed = fgsm(FirstRow(), images, labels, [0, 0.1, 0.5], target_classes).images
    outcomes = attack_outcomes(FirstRow(), changed, labels, target_classes)
    assert outcomes["accuracy"].tolist() == [
        [True, True, False],
        [True, False, False],
        [False, False, False],
    ]
    assert outcomes["target_success"].tolist() == [
        [False, False, True],
        [False, True, True],
        [True] * 3,
    ]
    untargeted = attack_outcomes(FirstRow(), changed, labels)
    assert untargeted.keys() == {"accuracy"}
    assert torch.equal(untargeted["accuracy"], outcomes["accuracy"])


def test_a_transferred_attack_is_evaluated_on_the_other_model():
    images = torch.stack([row(0.6, 0.4, 0.5)])
    labels = torch.tensor([0])
    changed = fgsm(FirstRow(), images, labels, [0.3]).images
    assert not attack_outcomes(FirstRow(), changed, labels)["accuracy"].any()
    # The other model's scores have the opposite sign: the same change makes it right.
    assert not attack_outcomes(FirstRow(-1), images[None], labels)["accuracy"].any()
    assert attack_outcomes(FirstRow(-1), changed, labels)["accuracy"].all()


def test_all_of_several_objects_must_be_recognized():
    images = torch.stack([row(0.9, 0.8, 0.1), row(0.9, 0.1, 0.8)])[None]
    labels, target_classes = torch.tensor([[1, 1, 0]] * 2), torch.tensor([2, 2])
    outcomes = attack_outcomes(FirstRow(), images, labels, target_classes)
    assert outcomes["accuracy"].tolist() == [[True, False]]
    assert outcomes["target_success"].tolist() == [[False, True]]


def test_the_model_is_evaluated_in_evaluation_mode():
    model = FirstRow()
    model.add_module("drop", torch.nn.Dropout(1.0))
    model.register_forward_pre_hook(lambda module, args: module.drop(args[0]))
    model.train()
    outcomes = attack_outcomes(model, torch.stack([row(0.1, 0.9, 0.2)])[None], torch.tensor([1]))
    assert outcomes["accuracy"].all() and model.training


def attack(method, budget, attacked, evaluated):
    """Attack the fixed images, each several times with other draws, at one epsilon."""
    images, labels = fixed_images().repeat(4, 1, 1, 1), fixed_labels().repeat(4)
    batch = AttackBatch(images, labels, torch.arange(len(images)))
    steps = []
    outcomes = attack_batches(
        method,
        [0.08],
        budget,
        attacked=attacked,
        evaluated=evaluated,
        batches=[batch, batch],
        advance=lambda: steps.append(1),
    )
    assert len(steps) == 1
    return {metric: outcome[0] for metric, outcome in outcomes.items()}


@pytest.mark.parametrize(("method", "cost"), [("pgd", 2), ("square", 3)])
def test_restarts_attack_what_is_left(method, cost):
    """With a single step, other starts mislead more images."""
    model = FixedNetwork()
    once, often = (attack(method, AttackBudget(1, count, 3), model, model) for count in (1, 9))
    assert not (often["accuracy"] & ~once["accuracy"]).any()
    assert often["accuracy"].sum() < once["accuracy"].sum() < 64
    assert (once["passes"] <= cost).all() and (once["passes"] == cost).any()
    # Each restart looks first for what is left.
    assert (often["passes"][often["accuracy"]] == 9 * cost + 8).all()
    early = ~once["accuracy"]
    assert (often["passes"][early] <= cost + 1).all() and early.any()


@pytest.mark.parametrize(("method", "cost"), [("apgd-ce", 42), ("square", 40)])
def test_a_transferred_attack_goes_on_after_its_model_is_misled(method, cost):
    budget, model = AttackBudget(20, 1, 40), FixedNetwork()
    own = attack(method, budget, model, model)
    transferred = attack(method, budget, model, FixedNetwork())
    assert (own["passes"] < cost).any() and (transferred["passes"] == cost).all()
    assert ("zero_gradient" in own) is (method != "square")
