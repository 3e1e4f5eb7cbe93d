"""Held-out images and folds: by image number, and by object."""

import pytest
import torch

from capsbench.data.folds import HELD_OUT_SHARE, NUM_FOLDS, folds_by_image, folds_by_object


def test_the_role_of_an_image_depends_on_its_number_alone():
    whole = folds_by_image(torch.arange(6000))
    rows = torch.tensor([4012, 7, 300])
    for part, of_rows, selected in zip(
        whole, folds_by_image(rows), whole.select(rows), strict=True
    ):
        assert torch.equal(part[rows], of_rows)
        assert torch.equal(part[rows], selected)


def test_a_third_is_held_out_and_folds_are_of_equal_size():
    whole = folds_by_image(torch.arange(6000))
    assert whole.held_out.double().mean().item() == pytest.approx(HELD_OUT_SHARE, abs=0.02)
    training = whole.fold[~whole.held_out]
    assert training.bincount().tolist() == pytest.approx([4000 / NUM_FOLDS] * NUM_FOLDS, rel=0.1)
    assert len(whole.order.unique()) == 6000


def test_objects_stay_together():
    targets = torch.arange(3).repeat_interleave(50)
    instances = torch.arange(5).repeat(30)
    folds = folds_by_object(targets, instances, torch.arange(150))
    for label in range(3):
        of_class = targets == label
        held_out = instances[of_class & folds.held_out].unique()
        assert len(held_out) == 2
        training = of_class & ~folds.held_out
        assert not torch.isin(instances[training], held_out).any()
        for instance in instances[training].unique():
            assert len(folds.fold[training & (instances == instance)].unique()) == 1
    single = folds_by_object(targets, torch.zeros_like(targets), torch.arange(150))
    assert not single.held_out.any()


@pytest.mark.parametrize("objects", range(2, 7))
def test_both_halves_of_the_folds_have_images_of_each_class(objects):
    targets = torch.arange(120 * objects) % 2
    instances = torch.arange(120 * objects) // 2 % objects
    folds = folds_by_object(targets, instances, torch.arange(120 * objects))
    for label in (0, 1):
        for half in (folds.fold < NUM_FOLDS // 2, folds.fold >= NUM_FOLDS // 2):
            assert (half & ~folds.held_out & (targets == label)).any()
