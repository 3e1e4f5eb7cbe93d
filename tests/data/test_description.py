"""What is told of the splits of a set."""

import pytest
import torch

from capsbench.data import description
from capsbench.data.description import checksum, describe_splits
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


def test_familiar_and_novel_images_are_told_apart_where_there_are_both():
    found = {one.name: one for one in describe_splits(Flat())}
    assert list(found) == ["train", "validation", "test"]
    assert found["train"].per_class == (10, 10)
    assert found["train"].views == {}
    views = ViewRange(azimuth={"values": [0, 90]}, rotation=[-5, 5])
    found = {one.name: one for one in describe_splits(OfficialTurntable(views=views))}
    assert list(found) == ["train", "validation", "familiar", "novel"]
    assert found["novel"].views == {
        "azimuth": "180, 270",
        "elevation": "30, 40",
        "instance": "2, 3",
        "rotation": "-5 to 5 °",
    }
    assert found["validation"].views["instance"] == "1"
    assert [label for label, _ in found["train"].examples] == ["cup", "cow"]
    assert found["train"].examples[0][1].shape == (4, 1, 8, 8)


def test_novel_images_of_the_sets_own_are_not_moved():
    class WithNovel(Flat):
        with_novel = True

    found = {one.name: one for one in describe_splits(WithNovel(views=ViewRange(rotation=[0, 5])))}
    assert list(found) == ["train", "validation", "familiar", "novel"]
    assert found["familiar"].views == {"rotation": "0 to 5 °"}
    assert found["novel"].views == {}


@pytest.mark.parametrize("count", [3, 40])
def test_many_values_are_told_by_their_ends(count):
    told = description._values(torch.arange(count))
    assert told == ("0, 1, 2" if count == 3 else "40 values from 0 to 39")
