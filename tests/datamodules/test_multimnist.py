"""MultiMNIST: two digits of different classes, shifted, added, clipped."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.capsules.losses import margin_loss
from capsbench.capsules.reconstruction import reconstruction_loss
from capsbench.contracts import class_recall, one_hot_by_object
from capsbench.data.batches import Split
from capsbench.datamodules.mnist import MNIST
from capsbench.datamodules.multimnist import MultiMNIST, PairBatch, Pairs, _Digits
from capsbench.errors import UserError
from capsbench.models.capsnet_dr import CapsNetDR
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.joint import JointView
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp
from tests.datamodules import roots
from tests.datamodules.properties import SPLITS


@pytest.fixture
def root(tmp_path, monkeypatch):
    roots.idx_set(tmp_path, monkeypatch, MNIST)
    return tmp_path


def pairs_of(data, split="test") -> Pairs:
    pairs = data.split(split)
    assert isinstance(pairs, Pairs)
    return pairs


def training(data, number) -> PairBatch:
    batch = data.train_dataloader()[number]
    assert isinstance(batch, PairBatch)
    return batch


def by_hand(pairs, canvas=36):
    """Return the digits of each pair on canvases of their own, by slicing."""
    room = canvas  # on each side
    wide = torch.zeros(len(pairs), 2, canvas + 2 * room, canvas + 2 * room)
    first = room + (canvas - 28) // 2
    for row, (digits, shifts) in enumerate(zip(pairs.images, pairs.shifts.tolist(), strict=True)):
        for number, (digit, (x, y)) in enumerate(zip(digits, shifts, strict=True)):
            lines, columns = slice(first + y, first + y + 28), slice(first + x, first + x + 28)
            wide[row, number, lines, columns] = digit.float() / 255
    return wide[..., room:-room, room:-room]


@pytest.mark.parametrize("shift", [4, 6])
@pytest.mark.parametrize("canvas", [36, 44])
def test_two_digits_are_shifted_by_whole_pixels_added_and_clipped(root, shift, canvas):
    data = MultiMNIST(data_root=root, shift=shift, canvas=canvas)
    pairs = pairs_of(data)
    assert pairs.shifts.abs().max() == shift
    assert len(pairs.shifts.unique()) == 2 * shift + 1
    (batch,) = data.evaluation.batches("test", "cpu")
    alone = by_hand(pairs, canvas)
    assert torch.equal(batch.images, alone.sum(1, keepdim=True).clamp(max=1))
    assert (pairs.targets != pairs.partners).all()
    swapped = pairs.targets > pairs.partners
    expected = torch.where(swapped[:, None, None, None], alone.flip(1), alone)
    assert batch.objects is not None
    assert torch.equal(batch.objects[:, :, 0], expected)
    classes = torch.stack([pairs.targets, pairs.partners], dim=1)
    assert torch.equal(batch.targets.nonzero()[:, 1].view(-1, 2), classes.sort(dim=1).values)
    assert batch.targets.sum(dim=1).unique().tolist() == [2]


def test_training_pairs_are_new_in_each_batch_and_only_of_training_digits(root):
    data = MultiMNIST(data_root=root, batch_size=55, per_class=6)
    stream = data.train_dataloader()
    stored = torch.cat([stream[number].images for number in range(20)])
    mnist = MNIST(data_root=root, per_class=6)
    learned = {image.numpy().tobytes() for image in mnist.split("train").images[:, 0]}
    assert {digit.numpy().tobytes() for pair in stored for digit in pair} <= learned
    one, other = training(data, 0), training(data, len(stream))
    assert not torch.equal(one.shifts, other.shifts)
    assert (torch.cat([one.targets, other.targets]).sum(dim=1) == 2).all()


@pytest.mark.parametrize("few", [{"per_class": 1}, {"limit": 9}], ids=["per class", "limit"])
def test_few_images_are_made_of_few_digits(root, few):
    data, digits = MultiMNIST(data_root=root, **few), MNIST(data_root=root, **few)
    for name in SPLITS[:2]:
        pairs = pairs_of(data, name)
        assert len(pairs) == len(digits.split(name))
        left = {digit.numpy().tobytes() for digit in digits.split(name).images}
        assert {digit[None].numpy().tobytes() for pair in pairs.images for digit in pair} <= left


def test_a_limit_changes_no_test_pair(root):
    every, some = (pairs_of(MultiMNIST(data_root=root, limit=n, pairs=2)) for n in (None, 11))
    assert len(some) == 11
    for name in ("images", "targets", "partners", "shifts", "index"):
        assert torch.equal(getattr(some, name), getattr(every[some.index], name))


def test_processes_share_the_pairs_of_a_batch(root):
    data = MultiMNIST(data_root=root)
    rows = torch.arange(12)
    whole = data.make_training_batch(3, rows, slice(None))
    assert isinstance(whole, PairBatch)
    for rank in range(3):
        share = data.make_training_batch(3, rows, slice(rank, None, 3))
        assert isinstance(share, PairBatch)
        assert torch.equal(share.images, whole.images[rank::3])
        assert torch.equal(share.shifts, whole.shifts[rank::3])
        assert torch.equal(share.targets, whole.targets[rank::3])


def test_fewer_pairs_are_the_first_of_more(root):
    few, more = (pairs_of(MultiMNIST(data_root=root, pairs=n)) for n in (1, 3))
    assert more.index.tolist() == list(range(120))
    for name in ("images", "targets", "partners", "shifts"):
        assert torch.equal(getattr(few, name), getattr(more, name)[:40])
    assert not torch.equal(more.shifts[:40], more.shifts[40:80])


@given(st.lists(st.integers(0, 4), min_size=2, max_size=30).filter(lambda c: len(set(c)) > 1))
@settings(max_examples=40, deadline=None)
def test_each_digit_of_another_class_is_an_equally_frequent_partner(classes):
    targets = torch.tensor(classes)
    digits = _Digits(Split(torch.zeros(len(classes), 1, 1, 1), targets, torch.arange(len(classes))))
    for row, label in enumerate(classes):
        others = [number for number, other in enumerate(classes) if other != label]
        unit = (torch.arange(len(others), dtype=torch.float64) + 0.5) / len(others)
        partners = digits.others(torch.full((len(others),), row), unit)
        assert sorted(partners.tolist()) == others


def test_a_single_class_has_no_pairs(root):
    with pytest.raises(UserError, match="digits of different classes"):
        MultiMNIST(data_root=root, limit=1).train_dataloader()[0]


def test_views_move_both_digits_and_light_is_that_of_the_image(root):
    plain = MultiMNIST(data_root=root)
    views = ViewRange(rotation=90, brightness=0.25)
    (seen,) = MultiMNIST(data_root=root, views=views).evaluation.batches("test", "cpu")
    (flat,) = plain.evaluation.batches("test", "cpu")
    assert seen.objects is not None and flat.objects is not None
    expected = (torch.rot90(flat.images, 1, (2, 3)) + 0.25).clamp(max=1)
    torch.testing.assert_close(seen.images, expected)
    torch.testing.assert_close(
        seen.objects[:, 1], (torch.rot90(flat.objects[:, 1], 1, (2, 3)) + 0.25).clamp(max=1)
    )


def test_a_tilt_turns_the_composed_image_and_each_digit(root):
    views = ViewRange(tilt_x=40, tilt_y=-20)
    (seen,) = MultiMNIST(data_root=root, views=views).evaluation.batches("test", "cpu")
    (flat,) = MultiMNIST(data_root=root).evaluation.batches("test", "cpu")
    grid = Views.of_grid([JointView((GridView("tilt_x", 40), GridView("tilt_y", -20)))])
    matrices = grid.matrices(36, 36)
    assert seen.objects is not None and flat.objects is not None and seen.views.tilt is not None
    torch.testing.assert_close(seen.images, warp(flat.images, matrices))
    torch.testing.assert_close(seen.objects[:, 1], warp(flat.objects[:, 1], matrices))
    assert seen.views.tilt.unique(dim=0).tolist() == [[40, -20]]


def test_both_conventions_of_counting():
    scores = torch.tensor([[0.9, 0.8, 0.1], [0.9, 0.1, 0.8], [0.2, 0.1, 0.9]])
    targets = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 0]])
    shares = class_recall(scores.log(), targets)
    assert shares.tolist() == [1, 0.5, 0.5]
    assert (shares == 1).float().mean() == pytest.approx(1 / 3)  # both digits right
    assert shares.mean() == pytest.approx(2 / 3)  # digit by digit


def test_targets_are_separated_by_object():
    targets = torch.tensor([[0, 1, 0, 1], [1, 1, 0, 0]])
    expected = [[[0, 1, 0, 0], [0, 0, 0, 1]], [[1, 0, 0, 0], [0, 1, 0, 0]]]
    assert one_hot_by_object(targets, 2).tolist() == expected


def test_capsules_draw_each_digit_alone_from_its_own_class(root):
    data = MultiMNIST(data_root=root, limit=6)
    (batch,) = data.evaluation.batches("test", "cpu")
    model = CapsNetDR(
        image_shape=data.image_shape,
        num_classes=10,
        channels=4,
        primary_types=2,
        decoder=(8,),
        reconstruction_weight=0.1,
    )
    assert batch.objects is not None and model.decoder is not None
    prediction = model(batch.images)
    assert prediction.poses is not None
    expected = margin_loss(prediction.scores, batch.targets.float())
    for row, (target, objects) in enumerate(zip(batch.targets, batch.objects, strict=True)):
        for label, digit in zip(target.nonzero()[:, 0].tolist(), objects, strict=True):
            alone = torch.nn.functional.one_hot(torch.tensor([label]), 10).float()
            drawn = model.decoder(prediction.poses[row : row + 1], alone)
            share = reconstruction_loss(drawn, digit[None], weight=0.1) / len(batch.images)
            expected = expected + share
    torch.testing.assert_close(model.loss(prediction, batch, 0.5), expected)
