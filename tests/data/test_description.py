"""Descriptions of the splits of a set."""

import pytest
import torch

from capsbench.data import description
from capsbench.data.description import checksum, describe_splits
from capsbench.errors import UserError
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import Flat, OfficialTurntable


def test_a_checksum_sees_every_pixel_class_and_number():
    split = Flat().split("train")
    before = checksum(split)
    assert checksum(Flat().split("train")) == before
    for values in (split.images, split.targets, split.index):
        place = values.view(-1)[7:8]
        place += 1
        assert checksum(split) != before
        place -= 1
    assert checksum(split) == before
    recorded = OfficialTurntable().split("train")
    before = checksum(recorded)
    assert recorded.masks is not None and recorded.poses is not None
    for values in (recorded.factors["azimuth"], recorded.masks, recorded.poses):
        place = values.view(-1)[7:8]
        place += 1
        assert checksum(recorded) != before
        place -= 1


def test_views_are_described_by_factor():
    views = ViewRange(
        rotation={"values": [0, 90]},
        shift={"intervals": [[-6, -3], [3, 6]]},
        contrast=0.5,
        part={"width": 3, "height": 2, "x": 1},
    )
    assert describe_splits(Flat(views=views))[0].views == {
        "rotation": "0, 90 °",
        "shift": "-6 to -3, 3 to 6 px",
        "contrast": "0.5 ×",
        "part": "3 x 2 px about (1; 0)",
    }


def test_ranges_of_a_test_are_described_too():
    ranges = {"behind": ViewRange(azimuth=180), "turned": ViewRange(rotation=90)}
    data = OfficialTurntable(views=ViewRange(azimuth={"values": [0, 90]}))
    behind, turned = describe_splits(data, ranges)[-2:]
    assert (behind.name, behind.images, behind.views["azimuth"]) == ("behind", 8, "180")
    assert (turned.name, turned.images, turned.views["rotation"]) == ("turned", 16, "90 °")


def test_files_are_read_once():
    class Missing(Flat):
        loaded = 0

        def load(self):
            type(self).loaded += 1
            raise UserError("the file is not there")

    with pytest.raises(UserError, match="the file is not there"):
        describe_splits(Missing())
    assert Missing.loaded == 1


def test_familiar_and_novel_images_are_separate_if_there_are_both():
    splits = {one.name: one for one in describe_splits(Flat())}
    assert list(splits) == ["train", "validation", "test"]
    assert splits["train"].per_class == (10, 10)
    assert splits["train"].views == {}
    views = ViewRange(azimuth={"values": [0, 90]}, rotation=[-5, 5])
    splits = {one.name: one for one in describe_splits(OfficialTurntable(views=views))}
    assert list(splits) == ["train", "validation", "familiar", "novel"]
    assert splits["novel"].views == {
        "azimuth": "180, 270",
        "elevation": "30, 40",
        "instance": "2, 3",
        "rotation": "-5 to 5 °",
    }
    assert splits["validation"].views["instance"] == "1"
    assert [label for label, _ in splits["train"].examples] == ["cup", "cow"]
    assert splits["train"].examples[0][1].shape == (4, 1, 8, 8)


def test_a_novel_split_of_the_set_is_not_moved():
    class WithNovel(Flat):
        with_novel = True

    splits = {one.name: one for one in describe_splits(WithNovel(views=ViewRange(rotation=[0, 5])))}
    assert list(splits) == ["train", "validation", "familiar", "novel"]
    assert splits["familiar"].views == {"rotation": "0 to 5 °"}
    assert splits["novel"].views == {}


@pytest.mark.parametrize("count", [3, 40])
def test_many_values_are_described_by_their_range(count):
    text = description._values(torch.arange(count))
    assert text == ("0, 1, 2" if count == 3 else "40 values from 0 to 39")
