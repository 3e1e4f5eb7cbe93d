"""The data module: subsets of splits, views of images, masks that move."""

import pytest
import torch

from capsbench.errors import UserError
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.warp import warp
from tests.data.made_up import Flat, Turntable, evaluated_images


@pytest.mark.parametrize(
    ("per_class", "train", "validation"), [(4, 12, 12), (0.5, 15, 6), (99, 30, 15)]
)
def test_per_class_limits_training_and_validation(per_class, train, validation):
    data = Flat(per_class=per_class)
    for split, count in (
        (data.split("train"), train),
        (data.split("validation"), validation),
    ):
        assert len(split) == count
        assert torch.bincount(split.targets).unique().numel() == 1
    assert len(data.split("test")) == 15


def test_subsets_are_nested_and_depend_on_the_seed():
    def chosen(per_class, seed=0):
        return set(Flat(per_class=per_class, seed=seed).split("train").index.tolist())

    assert chosen(2) < chosen(5) < chosen(9)
    assert chosen(2) != chosen(2, seed=1)


def test_without_recorded_views_nothing_is_novel():
    data = Flat()
    assert len(data.split("familiar")) == len(data.split("test"))
    with pytest.raises(UserError, match="name ranges of views"):
        data.split("novel")


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (ViewRange(azimuth=0), "flat records no view"),
        (ViewRange(part="object"), "flat has no masks"),
    ],
    ids=["azimuth", "object"],
)
def test_views_that_the_set_does_not_have(views, message):
    with pytest.raises(UserError, match=message):
        Flat(views=views)
    with pytest.raises(UserError, match=message):
        list(Flat().evaluation.batches("test", "cpu", views))


def test_the_object_moves_before_its_background():
    data = Turntable()
    view = GridView("shift_x", 3.0, "object")
    image = next(iter(evaluated_images(data, "test", view).values()))[0]
    assert set((image * 255).round().int()[1:3, 5:7].flatten().tolist()) == {200}
    assert set((image * 255).round().int()[1:3, 2:4].flatten().tolist()) == {0}
    # It turns about its own centre: a quarter turn of a square changes nothing.
    turned = next(
        iter(evaluated_images(data, "test", GridView("rotation", 90.0, "object")).values())
    )
    still = next(iter(evaluated_images(data, "test", GridView("rotation", 0.0)).values()))
    torch.testing.assert_close(turned, still)


def test_a_window_moves_in_training():
    # The one bright pixel, (5, 2), lies in a window of 2 x 2 pixels, which moves by (2, 2).
    views = ViewRange(shift={"values": [2]}, part={"width": 2, "height": 2, "x": 1, "y": -1})
    data = Flat(views=views, batch_size=30)
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    bright = (batch.images == 1).flatten(1).float().argmax(1)
    assert set(bright.tolist()) == {8 * 4 + 7}
    shade = batch.images[:, 0, 7, 0]
    assert torch.equal(batch.images[:, 0, 2, 5], torch.zeros(30))
    assert torch.equal(batch.images[:, 0, 5, 6], shade)


def test_stored_images_may_be_larger_or_smaller_than_the_result():
    class Larger(Flat):
        image_shape = (1, 4, 4)

    class Smaller(Flat):
        image_shape = (1, 12, 12)

    number, image = next(iter(evaluated_images(Larger(), "test").items()))
    stored = Flat().split("test").images[0].float() / 255
    assert torch.equal(image, stored[:, 2:6, 2:6])
    padded = evaluated_images(Smaller(), "test")[number]
    assert torch.equal(padded[:, 2:10, 2:10], stored)
    assert padded.sum() == stored.sum()
    # The middle is cropped after the warp, so that pixels from outside come in.
    moved = evaluated_images(Larger(), "test", GridView("shift_x", -1.0))[number]
    assert torch.equal(moved, stored[:, 2:6, 3:7])


def test_light_is_measured_on_the_whole_image():
    class Larger(Flat):
        image_shape = (1, 4, 4)

    data = Larger()
    image = next(iter(evaluated_images(data, "test", GridView("contrast", 2.0)).values()))
    stored = data.split("test").images[0].float() / 255
    expected = ((stored - stored.mean()) * 2 + stored.mean()).clamp(0, 1)[:, 2:6, 2:6]
    torch.testing.assert_close(image, expected)


def test_images_are_warped_by_their_views():
    data = Flat(views=ViewRange(rotation=[-30, 30]))
    stored = data.make_training_batch(0, torch.arange(5), slice(None))
    batch = data.on_after_batch_transfer(stored, 0)
    expected = warp(stored.images.float() / 255, stored.views.matrices(8, 8))
    torch.testing.assert_close(batch.images, expected)
