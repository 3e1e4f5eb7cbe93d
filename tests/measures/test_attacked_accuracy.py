"""Outcomes of attacks, and their sums."""

import math

import pytest
import torch

from capsbench.contracts import Model, Prediction
from capsbench.measures._adversarial import fgsm
from capsbench.measures._attacked_accuracy import AccuracyUnderAttack, Outcome, attacked_accuracy


class Shown(Model):
    """Its scores are the pixels of the first row; its images are made of them."""

    def __init__(self, sign=1.0):
        super().__init__(image_shape=(1, 1, 3), num_classes=3)
        self.sign = sign

    def forward(self, images, views=None):
        return Prediction(self.sign * images[:, 0, 0])

    def loss(self, prediction, batch, progress):
        return prediction.scores.mean()


def row(*pixels):
    return torch.tensor(pixels)[None, None]


def test_outcomes_are_told_image_by_image_and_epsilon_by_epsilon():
    images = torch.stack([row(0.9, 0.1, 0.2), row(0.5, 0.4, 0.1), row(0.1, 0.2, 0.9)])
    targets, aims = torch.tensor([0, 0, 0]), torch.tensor([2, 1, 2])
    changed = fgsm(Shown(), images, targets, [0, 0.1, 0.5], aims).images
    outcome = attacked_accuracy(Shown(), changed, targets, aims)
    assert outcome.reached is not None
    assert outcome.correct.tolist() == [
        [True, True, False],
        [True, False, False],
        [False, False, False],
    ]
    assert outcome.reached.tolist() == [[False, False, True], [False, True, True], [True] * 3]
    untargeted = attacked_accuracy(Shown(), changed, targets)
    assert untargeted.reached is None
    assert torch.equal(untargeted.correct, outcome.correct)


def test_a_transfer_is_judged_by_the_other_model():
    images = torch.stack([row(0.6, 0.4, 0.5)])
    targets = torch.tensor([0])
    changed = fgsm(Shown(), images, targets, [0.3]).images
    assert not attacked_accuracy(Shown(), changed, targets).correct.any()
    # What is up for one is down for the other: the same change makes it right.
    assert not attacked_accuracy(Shown(-1), images[None], targets).correct.any()
    assert attacked_accuracy(Shown(-1), changed, targets).correct.all()


def test_with_several_objects_all_of_them_have_to_be_found():
    images = torch.stack([row(0.9, 0.8, 0.1), row(0.9, 0.1, 0.8)])[None]
    targets, aims = torch.tensor([[1, 1, 0]] * 2), torch.tensor([2, 2])
    outcome = attacked_accuracy(Shown(), images, targets, aims)
    assert outcome.correct.tolist() == [[True, False]]
    assert outcome.reached is not None and outcome.reached.tolist() == [[False, True]]


def test_a_model_is_judged_in_evaluation_mode():
    model = Shown()
    model.add_module("drop", torch.nn.Dropout(1.0))
    model.register_forward_pre_hook(lambda module, args: module.drop(args[0]))
    model.train()
    outcome = attacked_accuracy(model, torch.stack([row(0.1, 0.9, 0.2)])[None], torch.tensor([1]))
    assert outcome.correct.all() and model.training


def test_the_metric_counts_images_not_batches():
    generator = torch.Generator().manual_seed(0)
    bits = torch.rand(3, 2, 11, generator=generator) < 0.5
    metric = AccuracyUnderAttack(2, targeted=True)
    for part in (slice(0, 7), slice(7, 8), slice(8, 11)):
        correct, reached, blind = bits[:, :, part]
        metric.update(Outcome(correct, reached), blind)
    correct, reached, blind = bits.double().mean(dim=2)
    found = metric.compute()
    torch.testing.assert_close(found, {"accuracy": correct, "blind": blind, "reached": reached})
    assert set(AccuracyUnderAttack(2).state_dict()) == set()
    metric.reset()
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert all(math.isnan(share) for share in metric.compute()["accuracy"])


def test_the_metric_draws_itself():
    metric = AccuracyUnderAttack(2)
    metric.update(
        Outcome(torch.tensor([[True, True], [True, False]]), None), torch.zeros(2, 2).bool()
    )
    figure, axes = metric.plot()
    assert [line.get_label() for line in axes.lines] == ["accuracy", "blind"]
    figure.clear()
