"""Losses against loops over images and classes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.capsules.losses import (
    cross_entropy,
    margin_loss,
    spread_loss,
    spread_margin,
    spread_margin_sigmoid,
)
from capsbench.capsules.reconstruction import (
    RECONSTRUCTION_WEIGHT,
    RECONSTRUCTION_WEIGHT_CODE,
    ClassConditionalDecoder,
    reconstruction_loss,
)

rows = st.integers(1, 5).flatmap(
    lambda classes: st.lists(
        st.tuples(
            st.lists(st.floats(0, 1), min_size=classes, max_size=classes),
            st.lists(st.integers(0, 1), min_size=classes, max_size=classes),
        ),
        min_size=1,
        max_size=4,
    )
)


def tensors(images):
    presences, targets = zip(*images, strict=True)
    double = torch.float64
    return torch.tensor(presences, dtype=double), torch.tensor(targets, dtype=double)


@settings(deadline=None)
@given(rows)
def test_margin_loss_equals_a_loop(images):
    total = 0.0
    for presences, targets in images:  # several targets may be present, or none
        for length, present in zip(presences, targets, strict=True):
            total += max(0, 0.9 - length) ** 2 if present else 0.5 * max(0, length - 0.1) ** 2
    assert margin_loss(*tensors(images)).item() == pytest.approx(total / len(images), abs=1e-12)


def test_margin_loss_accepts_other_margins():
    presences, targets = torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]])
    loss = margin_loss(presences, targets, present=0.8, absent=0.3, absent_weight=0.25)
    assert loss.item() == pytest.approx(0.3**2 + 0.25 * 0.2**2)


@settings(deadline=None)
@given(rows, st.floats(0, 1))
def test_spread_loss_equals_a_loop(images, margin):
    total = 0.0
    for presences, targets in images:
        for above, present in zip(presences, targets, strict=True):
            for below, also_present in zip(presences, targets, strict=True):
                if present and not also_present:
                    total += max(0, margin - (above - below)) ** 2
    result = spread_loss(*tensors(images), margin=margin).item()
    assert result == pytest.approx(total / len(images), abs=1e-12)


def test_spread_margin_rises_linearly_from_0_2_to_0_9():
    assert [spread_margin(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0.2, 0.55, 0.9])
    assert spread_margin(0.25, start=0.0, end=1.0) == 0.25


@pytest.mark.parametrize(
    ("step", "margin"),
    [(0, 0.214), (100_000, 0.294), (200_000, 0.595), (300_000, 0.896), (700_000, 0.99)],
)
def test_sigmoid_margin_matches_the_code_at_its_steps(step, margin):
    assert spread_margin_sigmoid(step / 2_000_000) == pytest.approx(margin, abs=5e-4)


@given(st.integers(0, 2_000_000))
def test_sigmoid_margin_matches_the_formula_of_the_code(step):
    expected = 0.2 + 0.79 * torch.sigmoid(torch.tensor(min(10.0, step / 50000 - 4)).double())
    assert spread_margin_sigmoid(step / 2_000_000) == pytest.approx(expected.item(), rel=1e-6)
    assert spread_margin_sigmoid(step / 2_000_000) <= spread_margin_sigmoid(1.0) < 0.99


@settings(deadline=None)
@given(rows, st.sampled_from([1.0, 50.0]))
def test_cross_entropy_equals_a_loop(images, scale):
    total = 0.0
    for scores, targets in images:
        normaliser = sum(math.exp(scale * score) for score in scores)
        for score, present in zip(scores, targets, strict=True):
            if present:
                total -= math.log(math.exp(scale * score) / normaliser) / sum(targets)
    scores, targets = tensors(images)
    result = cross_entropy(scale * scores, targets).item()
    assert result == pytest.approx(total / len(images), abs=1e-12)


def test_cross_entropy_of_one_class_equals_that_of_indices():
    generator = torch.Generator().manual_seed(0)
    scores = 1e3 * torch.randn(6, 4, generator=generator)
    index = torch.tensor([0, 1, 2, 3, 0, 1])
    expected = torch.nn.functional.cross_entropy(scores, index)
    torch.testing.assert_close(cross_entropy(scores, torch.eye(4)[index]), expected)


def test_gradients_have_the_right_sign():
    targets = torch.tensor([[1.0, 0.0]])
    for loss in (margin_loss, lambda p, t: spread_loss(p, t, margin=0.9), cross_entropy):
        presences = torch.tensor([[0.5, 0.5]], requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(presences, targets), presences)
        assert gradient[0, 0] < 0 < gradient[0, 1]


@pytest.mark.parametrize(
    "loss", [margin_loss, lambda p, t: spread_loss(p, t, margin=0.5), cross_entropy]
)
def test_losses_are_computed_in_float32_under_autocast(loss):
    presences, targets = torch.rand(2, 3), torch.eye(3)[:2]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = loss(presences.bfloat16(), targets)
    assert half.dtype == torch.float32
    assert torch.equal(half, loss(presences.bfloat16().float(), targets))


def test_reconstruction_loss_sums_pixels_and_averages_images():
    drawn, images = torch.rand(3, 2, 4, 5), torch.rand(3, 2, 4, 5)
    total = sum((a - b) ** 2 for a, b in zip(drawn.flatten(), images.flatten(), strict=True))
    torch.testing.assert_close(reconstruction_loss(drawn, images), 0.0005 * total / 3)
    torch.testing.assert_close(reconstruction_loss(drawn, images, weight=2.0), 2 * total / 3)


@pytest.mark.parametrize("num_classes", [5, 10])
def test_weight_of_the_code_fits_a_margin_loss_summed_over_classes(num_classes):
    """The code: 0.0005 added to the margin loss times 0.5, averaged over the classes."""
    assert pytest.approx(0.0005) == RECONSTRUCTION_WEIGHT
    expected = 0.0005 / (0.5 / num_classes)
    assert RECONSTRUCTION_WEIGHT_CODE * num_classes == pytest.approx(expected)


@pytest.mark.parametrize("pose", [(5,), (4, 4)])
def test_decoder_depends_only_on_the_given_classes(pose):
    torch.manual_seed(0)
    decoder = ClassConditionalDecoder(
        num_classes=3, pose_dim=torch.Size(pose).numel(), image_shape=(2, 5, 6), hidden=(8, 9)
    )
    poses = torch.randn(2, 3, *pose)
    classes = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    drawn = decoder(poses, classes)
    assert drawn.shape == (2, 2, 5, 6)
    assert ((drawn > 0) & (drawn < 1)).all()
    for k, depends in enumerate(([True, True], [False, False], [False, True])):
        moved = poses.clone()
        moved[:, k] += 1
        changed = (decoder(moved, classes) != drawn).flatten(start_dim=1).any(dim=1)
        assert changed.tolist() == depends


LOSSES = {
    "margin": margin_loss,
    "spread": lambda presences, targets: spread_loss(presences, targets, margin=0.5),
    "cross-entropy": cross_entropy,
    "reconstruction": lambda one, other: reconstruction_loss(
        *(x[:, None, None] for x in (one, other))
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_images_has_a_loss_and_gradients_of_zero(name):
    images = torch.rand(3, 4, generator=torch.manual_seed(0), requires_grad=True)
    targets = torch.eye(4)[:3]
    loss = LOSSES[name]
    empty = loss(images[:0], targets[:0])
    assert str(empty.item()) == "0.0"  # not -0.0
    (gradient,) = torch.autograd.grad(empty, images)
    assert torch.equal(gradient, torch.zeros(3, 4))
    # Sums over images do not depend on the batches in which the images come.
    total = sum(
        loss(*part).item() * len(part[0])
        for part in [
            (images[:2], targets[:2]),
            (images[2:], targets[2:]),
            (images[:0], targets[:0]),
        ]
    )
    assert total == pytest.approx(3 * loss(images, targets).item(), rel=1e-6)
