"""Losses against loops over images and classes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.capsules.losses import margin_loss, spread_loss, spread_margin
from capsbench.capsules.reconstruction import ClassConditionalDecoder, reconstruction_loss

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
def test_margin_loss_is_that_of_the_loop(images):
    total = 0.0
    for presences, targets in images:  # several targets may be present, or none
        for length, present in zip(presences, targets, strict=True):
            total += max(0, 0.9 - length) ** 2 if present else 0.5 * max(0, length - 0.1) ** 2
    assert margin_loss(*tensors(images)).item() == pytest.approx(total / len(images), abs=1e-12)


def test_margin_loss_takes_other_margins():
    presences, targets = torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]])
    loss = margin_loss(presences, targets, present=0.8, absent=0.3, absent_weight=0.25)
    assert loss.item() == pytest.approx(0.3**2 + 0.25 * 0.2**2)


@settings(deadline=None)
@given(rows, st.floats(0, 1))
def test_spread_loss_is_that_of_the_loop(images, margin):
    total = 0.0
    for presences, targets in images:
        for above, present in zip(presences, targets, strict=True):
            for below, also_present in zip(presences, targets, strict=True):
                if present and not also_present:
                    total += max(0, margin - (above - below)) ** 2
    found = spread_loss(*tensors(images), margin=margin).item()
    assert found == pytest.approx(total / len(images), abs=1e-12)


def test_spread_margin_rises_linearly_from_0_2_to_0_9():
    assert [spread_margin(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0.2, 0.55, 0.9])
    assert spread_margin(0.25, start=0.0, end=1.0) == 0.25


def test_gradients_point_the_right_way():
    targets = torch.tensor([[1.0, 0.0]])
    for loss in (margin_loss, lambda p, t: spread_loss(p, t, margin=0.9)):
        presences = torch.tensor([[0.5, 0.5]], requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(presences, targets), presences)
        assert gradient[0, 0] < 0 < gradient[0, 1]


@pytest.mark.parametrize("loss", [margin_loss, lambda p, t: spread_loss(p, t, margin=0.5)])
def test_losses_are_taken_in_float32_under_autocast(loss):
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


@pytest.mark.parametrize("pose", [(5,), (4, 4)])
def test_decoder_sees_the_chosen_classes_alone(pose):
    torch.manual_seed(0)
    decoder = ClassConditionalDecoder(
        num_classes=3, pose_dim=torch.Size(pose).numel(), image_shape=(2, 5, 6), hidden=(8, 9)
    )
    poses = torch.randn(2, 3, *pose)
    classes = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    drawn = decoder(poses, classes)
    assert drawn.shape == (2, 2, 5, 6)
    assert ((drawn > 0) & (drawn < 1)).all()
    for k, seen in enumerate(([True, True], [False, False], [False, True])):
        moved = poses.clone()
        moved[:, k] += 1
        changed = (decoder(moved, classes) != drawn).flatten(start_dim=1).any(dim=1)
        assert changed.tolist() == seen
