"""Which images expensive measures look at."""

import torch

from capsbench.measures._image_subset import chosen_batches, chosen_rows
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import Flat, OfficialTurntable


def joined(batches):
    parts = list(batches)
    return torch.cat([part.images for part in parts]), torch.cat([part.index for part in parts])


def test_classes_are_balanced_and_fewer_are_a_part_of_more():
    few, more = chosen_rows(Flat(), 6), chosen_rows(Flat(), 9)
    assert torch.bincount(Flat().split("test").targets[few]).tolist() == [2, 2, 2]
    assert set(few.tolist()) < set(more.tolist())
    assert few.tolist() == sorted(few.tolist())
    assert chosen_rows(Flat(), 1000).tolist() == list(range(15))
    assert torch.equal(few, chosen_rows(Flat(seed=3), 6))


def test_they_are_those_that_all_measures_see():
    data = Flat(views=ViewRange(rotation=[10, 50]))
    rows = chosen_rows(data, 8)
    images, index = joined(chosen_batches(data, "cpu", rows, batch=3))
    whole, numbers = joined(data.batches("familiar", "cpu"))
    torch.testing.assert_close(images, whole[rows])
    assert torch.equal(index, numbers[rows])
    assert [len(part.index) for part in chosen_batches(data, "cpu", rows, batch=3)] == [3, 3, 2]
    view = GridView("shift_x", 2)
    moved, _ = joined(chosen_batches(data, "cpu", rows, view))
    torch.testing.assert_close(moved, joined(data.batches("familiar", "cpu", view))[0][rows])


def test_recorded_views_select_among_them():
    data = OfficialTurntable(views=ViewRange(azimuth={"values": [0, 90]}))
    rows = chosen_rows(data, 12)
    _, index = joined(chosen_batches(data, "cpu", rows, GridView("azimuth", 90)))
    split = data.split("familiar")
    expected = split.index[rows][split.factors["azimuth"][rows] == 90]
    assert index.tolist() == expected.tolist()
