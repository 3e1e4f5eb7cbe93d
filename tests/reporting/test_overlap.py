"""The page says which test objects and images training has seen."""

import pytest

from capsbench.data.overlap import Overlap
from capsbench.reporting.overlap import overlap_sentences


def record(images, equal, objects=None, seen=None):
    return Overlap(test_images=images, equal_images=equal, test_objects=objects, seen_objects=seen)


@pytest.mark.parametrize(
    ("overlaps", "words"),
    [
        ([(400, 0)], ("No test image equals",)),
        ([(400, 3)], ("Of 400 test images, 3 equal",)),
        ([(1400, 0, 25, 0)], ("None of the 25 test objects was seen",)),
        ([(1400, 0, 1025, 1025)], ("All 1,025 test objects were seen",)),
        ([(9, 0, 8, 3)], ("Of 8 test objects, 3 were seen",)),
        ([(9, 0, 8, 3), (9, 2, 8, 8)], ("Of 8 test objects, 3 to 8", "9 test images, 0 to 2")),
    ],
)
def test_sentences(overlaps, words):
    text = overlap_sentences([record(*each) for each in overlaps])
    assert [word for word in words if word not in text] == []


def test_objects_are_named_only_if_they_are_recorded():
    assert "object" not in overlap_sentences([record(400, 3)])
    assert overlap_sentences([record(400, 0)]).startswith("No test image")


def test_nothing_is_said_of_older_trainings():
    assert overlap_sentences([]) == ""
