"""Draws of attacks: functions of names and of the number of an image."""

import pytest
import torch

from capsbench.errors import UserError
from capsbench.measures._attack_draws import random_starts, square_draws, wrong_classes

SHAPE = (1, 8, 8)
INDEX = torch.tensor([5, 0, 17, 3, 8, 2])


def test_starts_depend_on_images_not_on_batches():
    together = random_starts(INDEX, SHAPE, 0, "start")
    assert together.min() >= -1 and together.max() <= 1
    assert together.min() < -0.9 and together.max() > 0.9
    assert together.mean().abs() < 0.1
    assert torch.equal(random_starts(INDEX.flip(0)[:2], SHAPE, 0, "start"), together.flip(0)[:2])
    assert not torch.equal(random_starts(INDEX, SHAPE, 1, "start"), together)
    assert not torch.equal(together[0], together[1])


def test_wrong_classes_are_uniform_and_depend_on_images():
    number = torch.arange(4000)
    labels = number % 5
    target_classes = wrong_classes(labels, number, 5, 0, "aims")
    assert (target_classes != labels).all()
    counts = torch.bincount(5 * labels + target_classes, minlength=25).reshape(5, 5)
    assert counts.diagonal().sum() == 0
    wrong = counts[~torch.eye(5, dtype=torch.bool)]
    assert (wrong - 200).abs().max() < 60  # 4.7 standard deviations
    rows = torch.tensor([17, 3, 3999])
    assert torch.equal(wrong_classes(labels[rows], rows, 5, 0, "aims"), target_classes[rows])
    assert not torch.equal(wrong_classes(labels, number, 5, 1, "aims"), target_classes)


def test_wrong_classes_of_several_objects_are_none_of_them():
    labels = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 1]]).repeat(200, 1)
    target_classes = wrong_classes(labels, torch.arange(400), 4, "aims")
    assert set(target_classes[::2].tolist()) == {2, 3}
    assert set(target_classes[1::2].tolist()) == {0, 2}


def test_an_image_that_holds_all_classes_has_no_wrong_one():
    with pytest.raises(UserError, match="attack it untargeted"):
        wrong_classes(torch.ones(2, 3), torch.arange(2), 3)


def test_squares_depend_on_images_not_on_batches_or_queries():
    together = square_draws(INDEX, (3, 8, 6), 40, "squares")
    assert [each.shape for each in together] == [(6, 3, 1, 6), (6, 40, 2), (6, 40, 3)]
    alone = square_draws(INDEX[4:], (3, 8, 6), 25, "squares")
    for many, few in zip(together, alone, strict=True):
        torch.testing.assert_close(few, many[4:, : few.shape[1]], atol=0, rtol=0)
    assert not torch.equal(square_draws(INDEX, (3, 8, 6), 40, 1).corners, together.corners)
    assert set(together.stripes.unique().tolist()) == {-1, 1}
    assert set(together.signs.unique().tolist()) == {-1, 1}
    assert together.signs.mean().abs() < 0.15
    assert 0 <= together.corners.min() < 0.05 and 0.95 < together.corners.max() < 1
