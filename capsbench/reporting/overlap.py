"""Test images and objects that training has seen, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from capsbench.data.overlap import Overlap


def overlap_sentences(overlaps: Collection[Overlap]) -> str:
    """State which test objects, if any are recorded, and which test images training has seen.

    Args:
        overlaps: Of each training; the numbers are ranges where they differ.

    Returns:
        Nothing without overlaps.
    """
    if not overlaps:
        return ""
    return f"{_objects(overlaps)} {_images(overlaps)}".lstrip()


def _objects(overlaps: Collection[Overlap]) -> str:
    pairs = {(each.test_objects, each.seen_objects) for each in overlaps}
    tested = [test for test, _ in pairs if test is not None]
    seen = [number for _, number in pairs if number is not None]
    if not tested:
        return ""
    if not any(seen):
        return f"None of the {_range(tested)} test objects was seen in training or validation."
    if all(test == number for test, number in pairs):
        return f"All {_range(tested)} test objects were seen in training or validation."
    return (
        f"Of {_range(tested)} test objects, {_range(seen)} were seen in training or validation, "
        "the others were not."
    )


def _images(overlaps: Collection[Overlap]) -> str:
    equal = [each.equal_images for each in overlaps]
    if not any(equal):
        return "No test image equals a training or validation image pixel by pixel."
    images = _range(each.test_images for each in overlaps)
    return f"Of {images} test images, {_range(equal)} equal a training or validation image."


def _range(numbers: Iterable[int]) -> str:
    known = {*numbers}
    low, high = min(known), max(known)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
