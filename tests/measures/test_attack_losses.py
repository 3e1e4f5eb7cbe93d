"""Losses of attacks: naive formulae in float64, torchattacks, invariance, several objects."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from capsbench.contracts import Model, Prediction
from capsbench.measures._attack_losses import cross_entropy, dlr, is_misled, loss_gradient, margin
from tests.measures.fixed_network import (
    NUM_CLASSES,
    FixedNetwork,
    fixed_images,
    fixed_labels,
    torchattacks_values,
)

LOGITS = torch.randn(40, 5, generator=torch.Generator().manual_seed(5))
LABELS = torch.arange(40) % 5
TARGETS = (LABELS + 1 + torch.arange(40) % 3) % 5


class Linear(Model):
    def __init__(self, num_classes):
        super().__init__(image_shape=(1, 2, 4), num_classes=num_classes)
        self.layer = nn.Linear(8, num_classes)

    def forward(self, images, views=None):
        return Prediction(self.layer(images.flatten(1)))

    def loss(self, prediction, batch, progress):
        raise AssertionError("this model is not trained")


def naive_dlr(logits, label, target=None):
    """Croce and Hein (2020), eq. 6 and 7, for one image."""
    z = [float(each) for each in logits]
    ranked = sorted(z, reverse=True)
    if target is None:
        rival = max(value for number, value in enumerate(z) if number != label)
        return -(z[label] - rival) / (ranked[0] - ranked[2])
    return -(z[label] - z[target]) / (ranked[0] - (ranked[2] + ranked[3]) / 2)


def test_the_ratio_is_that_of_the_paper():
    log_probabilities = LOGITS.log_softmax(-1)
    expected = [naive_dlr(*each) for each in zip(LOGITS, LABELS.tolist(), strict=True)]
    torch.testing.assert_close(
        dlr(log_probabilities, LABELS), torch.tensor(expected), atol=1e-5, rtol=1e-5
    )
    rows = zip(LOGITS, LABELS.tolist(), TARGETS.tolist(), strict=True)
    targeted = torch.tensor([naive_dlr(*each) for each in rows])
    torch.testing.assert_close(
        dlr(log_probabilities, LABELS, TARGETS), targeted, atol=1e-5, rtol=1e-5
    )


def test_the_ratio_is_that_of_torchattacks():
    scores, labels = FixedNetwork()(fixed_images()).scores, fixed_labels()
    theirs = torchattacks_values()
    torch.testing.assert_close(dlr(scores, labels), theirs["dlr"])
    torch.testing.assert_close(
        dlr(scores, labels, (labels + 1) % NUM_CLASSES), theirs["dlr targeted"]
    )


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
@settings(max_examples=25, deadline=None)
def test_the_ratio_depends_on_no_convention_of_probabilities(scale, shift):
    """An exponent on probabilities is a factor on logits; normalization is a constant."""
    logits = LOGITS.double()
    for targets in (None, TARGETS):
        expected = dlr(logits, LABELS, targets)
        torch.testing.assert_close(
            dlr(scale * logits + shift, LABELS, targets), expected, atol=1e-6, rtol=1e-6
        )


def test_losses_are_above_the_boundary_where_the_model_is_misled():
    log_probabilities = LOGITS.log_softmax(-1)
    misled = is_misled(log_probabilities, LABELS)
    assert torch.equal(misled, LOGITS.argmax(-1) != LABELS)
    assert torch.equal(dlr(log_probabilities, LABELS) > 0, misled)
    assert torch.equal(margin(log_probabilities, LABELS) > 0, misled)
    assert torch.equal(is_misled(log_probabilities, LABELS, TARGETS), LOGITS.argmax(-1) == TARGETS)


def test_the_margin_of_several_objects_is_that_of_the_weakest():
    """Of three objects, the image is lost as soon as one falls behind a wrong class."""
    log_probabilities = torch.tensor([[-1.0, -2.0, -4.0, -5.0, -9.0], [-1.0, -6.0, -4.0, -5.0, -9]])
    labels = torch.tensor([[1, 1, 0, 0, 0]] * 2)
    assert margin(log_probabilities, labels).tolist() == [-2, 2]
    assert is_misled(log_probabilities, labels).tolist() == [False, True]
    # z_1 - z_4, as z_1 - z_3 of one object.
    torch.testing.assert_close(dlr(log_probabilities, labels), torch.tensor([-2 / 4, 2 / 5]))
    torch.testing.assert_close(
        dlr(log_probabilities, labels, torch.tensor([3, 4])),
        torch.tensor([-3 / (-1 + (5 + 9) / 2), -3 / (-1 + (6 + 9) / 2)]),
    )
    assert cross_entropy(log_probabilities, labels).tolist() == [1.5, 3.5]


@pytest.mark.parametrize("num_classes", [2, 3])
def test_few_classes_have_a_gradient(num_classes):
    logits = LOGITS[:, :num_classes].clone().requires_grad_()
    losses = dlr(logits, LABELS % num_classes)
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    assert losses.isfinite().all() and (gradient != 0).any(dim=1).sum() > 20
    if num_classes == 2:
        assert torch.equal(losses, margin(logits, LABELS % 2))


def test_the_least_likely_of_three_classes_can_be_aimed_at():
    """A quotient would be -1 there for all logits."""
    logits = torch.tensor([[4.0, 1.0, -2.0]], requires_grad=True)
    losses = dlr(logits, torch.tensor([0]), torch.tensor([2]))
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    assert gradient.tolist() == [[-1, 0, 1]]


def test_the_gradient_is_that_of_the_negative_log_probability():
    torch.manual_seed(1)
    model, images = Linear(3), torch.rand(6, 1, 2, 4)
    weight = model.layer.weight.detach()
    labels = torch.tensor([0, 1, 2, 0, 0, 1])
    probabilities = model(images).scores.softmax(-1).detach()
    # d(-log p_y)/dx = sum_k p_k w_k - w_y
    expected = probabilities @ weight - weight[labels]
    loss, gradient, misled = loss_gradient(model, images, labels)
    torch.testing.assert_close(gradient.flatten(1), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(loss, -probabilities.log().gather(1, labels[:, None])[:, 0])
    assert torch.equal(misled, probabilities.argmax(-1) != labels)
    targeted = loss_gradient(model, images, labels, (labels + 1) % 3).gradient.flatten(1)
    torch.testing.assert_close(
        targeted, weight[(labels + 1) % 3] - probabilities @ weight, atol=1e-6, rtol=1e-5
    )
    # Two objects: the mean over both true classes.
    both = torch.tensor([[1, 1, 0]] * 6)
    mean = probabilities @ weight - (weight[0] + weight[1]) / 2
    torch.testing.assert_close(
        loss_gradient(model, images, both).gradient.flatten(1), mean, atol=1e-6, rtol=1e-5
    )


def test_what_is_not_a_number_is_no_progress():
    model = Linear(3)
    with torch.no_grad():
        model.layer.weight[:] = math.nan
    loss, gradient, misled = loss_gradient(model, torch.rand(2, 1, 2, 4), torch.tensor([0, 1]))
    assert (loss == -math.inf).all() and not gradient.any() and misled.all()
