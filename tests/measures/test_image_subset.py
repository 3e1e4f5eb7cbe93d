"""Subsets of test images for expensive measures."""

import torch

from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import Flat, OfficialTurntable


def concatenated(batches):
    parts = list(batches)
    return torch.cat([part.images for part in parts]), torch.cat([part.index for part in parts])


def test_classes_are_balanced_and_fewer_images_are_part_of_more():
    few, more = subset_rows(Flat(), 6), subset_rows(Flat(), 9)
    assert torch.bincount(Flat().split("test").targets[few]).tolist() == [2, 2, 2]
    assert set(few.tolist()) < set(more.tolist())
    assert few.tolist() == sorted(few.tolist())
    assert subset_rows(Flat(), 1000).tolist() == list(range(15))
    assert torch.equal(few, subset_rows(Flat(seed=3), 6))


def test_batches_are_those_of_the_familiar_split():
    data = Flat(views=ViewRange(rotation=[10, 50]))
    rows = subset_rows(data, 8)
    images, index = concatenated(familiar_batches(data, "cpu", rows, batch_size=3))
    everything, numbers = concatenated(data.evaluation.batches("familiar", "cpu"))
    torch.testing.assert_close(images, everything[rows])
    assert torch.equal(index, numbers[rows])
    assert [len(part.index) for part in familiar_batches(data, "cpu", rows, batch_size=3)] == [
        3,
        3,
        2,
    ]
    view = GridView("shift_x", 2)
    moved, _ = concatenated(familiar_batches(data, "cpu", rows, view))
    torch.testing.assert_close(
        moved, concatenated(data.evaluation.batches("familiar", "cpu", view))[0][rows]
    )


def test_recorded_views_select_among_the_images():
    data = OfficialTurntable(views=ViewRange(azimuth={"values": [0, 90]}))
    rows = subset_rows(data, 12)
    _, index = concatenated(familiar_batches(data, "cpu", rows, GridView("azimuth", 90)))
    split = data.split("familiar")
    expected = split.index[rows][split.factors["azimuth"][rows] == 90]
    assert index.tolist() == expected.tolist()
