"""The protocol in words: every restriction of a view is told."""

import pytest
from pydantic import TypeAdapter

from capsbench.measures import MeasureEntry
from capsbench.reporting.protocol import _ranges, _test
from capsbench.viewpoint.ranges import ViewRange


@pytest.mark.parametrize(
    ("views", "words"),
    [
        ({}, "no change of rotation, shift, scale and shear"),
        ({"shift": [-2, 2]}, "shift −2 px to 2 px; no change of rotation, scale and shear"),
        (
            {"azimuth": {"values": [340, 0, 20]}, "elevation": [0, 24]},
            (
                "no change of rotation, shift, scale and shear; azimuth 340°, 0° and 20°; "
                "elevation 0° to 24°"
            ),
        ),
        (
            {"rotation": {"start": -180, "stop": 150, "step": 30}, "contrast": [0.5, 1]},
            (
                "rotation −180° to 150° in steps of 30°; contrast ×0.5 to ×1; "
                "no change of shift, scale and shear"
            ),
        ),
        (
            {"rotation": 90, "part": {"width": 8, "height": 4.5}},
            "rotation 90° only; of a window of 8 × 4.5 px; no change of shift, scale and shear",
        ),
        (
            {"rotation": [0, 9], "part": "object"},
            (
                "rotation 0° to 9°; of the object before its background; "
                "no change of shift, scale and shear"
            ),
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_ranges(views, words):
    told = set(_ranges(ViewRange.model_validate(views)).split("; "))
    assert told == set(words.split("; "))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"measure": "accuracy-by-split", "splits": ["familiar", "rearranged"]},
            "Familiar and rearranged test images.",
        ),
        (
            {"measure": "accuracy-by-split", "splits": [], "ranges": {"aside": {"azimuth": 90}}},
            "Aside: azimuth 90° only; no change of rotation, shift, scale and shear.",
        ),
        (
            {"measure": "averaged-accuracy"},
            "The probabilities that a model gives 13 crops of each test image are averaged.",
        ),
    ],
    ids=["splits", "ranges", "crops"],
)
def test_measures(entry, words):
    found = _test(TypeAdapter[MeasureEntry](MeasureEntry).validate_python(entry))
    assert set(found.rstrip(".").partition(": ")[2].split("; ")) == set(
        words.rstrip(".").partition(": ")[2].split("; ")
    )
    assert found.partition(":")[0] == words.partition(":")[0]
