"""APGD: the paper's algorithm as a loop in float64, torchattacks, and early stops."""

from itertools import pairwise
from math import ceil

import pytest
import torch

from capsbench.measures._apgd import apgd, checkpoints
from capsbench.measures._attack_draws import random_starts
from capsbench.measures._attack_losses import LOSSES, LossName
from tests.measures.fixed_network import (
    NUM_CLASSES,
    NUM_IMAGES,
    SHAPE,
    FixedNetwork,
    fixed_images,
    fixed_labels,
    torchattacks_values,
)

INDEX = torch.arange(NUM_IMAGES)


def starts():
    return random_starts(INDEX, SHAPE, "start")


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 40, 100])
def test_checkpoints_are_those_of_the_paper(steps):
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    places = sorted({ceil(round(share * steps, 9)) for share in shares})
    lengths = {place: place - last for last, place in pairwise(places)}
    assert checkpoints(steps) == {place: n for place, n in lengths.items() if place < steps}
    if steps == 100:
        assert [*checkpoints(100)] == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_points_and_losses_are_those_of_torchattacks(loss):
    """Of 100 steps, the checkpoints of their code are those of the paper."""
    model, images, labels = FixedNetwork(), fixed_images(), fixed_labels()
    theirs = torchattacks_values()
    start = theirs["start"]
    name: LossName = "cross-entropy" if loss == "ce" else "dlr"
    attacked = apgd(
        model, images, labels, [0.05], starts=start, loss=name, steps=100, early_stop=False
    )
    point = attacked.images[0]
    same = (point - theirs[f"apgd-{loss}"]).abs() < 1e-6
    assert same.float().mean() > 0.98  # the sign of a gradient near 0 may differ by rounding
    reached = LOSSES[name](model.log_probabilities(model(point)), labels, None)
    torch.testing.assert_close(reached, theirs[f"apgd-{loss} loss"], atol=1e-4, rtol=1e-4)
    stopped = apgd(model, images, labels, [0.05], starts=start, loss=name, steps=100).images[0]
    misled = model(stopped).scores.argmax(-1) != labels
    assert torch.equal(misled, theirs[f"apgd-{loss} misled"])
    assert 0 < misled.sum() < NUM_IMAGES


def naive_apgd(evaluate, image, epsilon, start, steps):
    """Attack one image, as algorithm 1 has it; the checkpoint replaces x_w."""

    def project(point):
        return (image + (point - image).clamp(-epsilon, epsilon)).clamp(0, 1)

    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    places = [ceil(round(share * steps, 9)) for share in shares]
    point = before = project(image + epsilon * start)
    value, gradient = evaluate(point)
    eta, halvings, losses = 2 * epsilon, 0, [value]
    best_point, best_gradient, best_loss = point, gradient, value
    at_check, halved, last = best_loss, False, 0
    for k in range(1, steps + 1):
        z = project(point + eta * gradient.sign())
        alpha = 1.0 if k == 1 else 0.75
        new = project(point + alpha * (z - point) + (1 - alpha) * (point - before))
        value, gradient = evaluate(new)
        losses.append(value)
        before, point = point, new
        if value > best_loss:
            best_point, best_gradient, best_loss = new, gradient, value
        if k in places:
            rises = sum(losses[i + 1] > losses[i] for i in range(last, k))
            no_gain = not halved and best_loss == at_check
            halved = rises < 0.75 * (k - last) or no_gain
            if halved:
                eta, point, gradient = eta / 2, best_point, best_gradient
                halvings += 1
            at_check, last = best_loss, k
    return best_point, halvings


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("loss", ["cross-entropy", "dlr"])
def test_batches_agree_with_a_loop_over_images(loss, targeted):
    model = FixedNetwork().double()
    images, labels = fixed_images().double(), fixed_labels()
    targets = (labels + 2) % NUM_CLASSES if targeted else None
    attacked = apgd(
        model,
        images,
        labels,
        [0.06],
        targets,
        starts=starts(),
        loss=loss,
        steps=20,
        early_stop=False,
    ).images[0]
    halvings = 0
    for row in range(NUM_IMAGES):

        def evaluate(point, row=row):
            point = point.clone().requires_grad_()
            scores = model(point[None]).scores
            target = None if targets is None else targets[row : row + 1]
            value = LOSSES[loss](scores.log_softmax(-1), labels[row : row + 1], target)
            (gradient,) = torch.autograd.grad(value.sum(), point)
            return float(value.detach()), gradient

        expected, count = naive_apgd(evaluate, images[row], 0.06, starts()[row].double(), 20)
        halvings += count
        torch.testing.assert_close(attacked[row], expected, atol=1e-9, rtol=0)
    assert halvings > NUM_IMAGES


def test_an_image_stops_at_the_first_point_that_misleads_the_model():
    model, images, labels = FixedNetwork(), fixed_images(), fixed_labels()
    attacked = apgd(model, images, labels, [0.02, 0.1], starts=starts(), steps=20)
    misled = torch.stack([model(each).scores.argmax(-1) != labels for each in attacked.images])
    assert misled[1].sum() > misled[0].sum() > 0
    # Those that are misled at the first checkpoint cost 2 passes for the start and each step.
    assert (attacked.passes[~misled] == 2 * 21).all()
    assert (attacked.passes[misled] == 2 * (1 + min(checkpoints(20)))).any()
    further = apgd(model, images, labels, [0.02, 0.1], starts=starts(), steps=20, early_stop=False)
    assert (further.passes == 42).all()
    stopped, climbed = (
        torch.stack(
            [-model.log_probabilities(model(x)).gather(1, labels[:, None])[:, 0] for x in y]
        )
        for y in (attacked.images, further.images)
    )
    assert (climbed >= stopped - 1e-6).all() and (climbed > stopped + 0.1)[misled].any()


def test_an_image_does_not_depend_on_the_others():
    model, images, labels = FixedNetwork(), fixed_images(), fixed_labels()
    together = apgd(model, images, labels, [0.05], starts=starts(), loss="dlr").images[0]
    for row in (0, 3, 7):
        alone = apgd(
            model, images[[row]], labels[[row]], [0.05], starts=starts()[[row]], loss="dlr"
        ).images[0, 0]
        torch.testing.assert_close(alone, together[row], atol=1e-6, rtol=0)
