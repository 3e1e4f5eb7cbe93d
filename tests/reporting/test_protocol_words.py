"""The protocol in words: every restriction of a view is stated."""

import pytest

from capsbench.measures import parse_config
from capsbench.measures.attacks import Attacks
from capsbench.reporting.protocol import (
    _augmentations_and_cases,
    _measure,
    _ranges,
    _recipes,
    _varied,
)
from capsbench.schema import load_benchmark
from capsbench.viewpoint.ranges import ViewRange


@pytest.mark.parametrize(
    ("views", "words"),
    [
        ({}, "no change of rotation, shift, scale, shear and tilt"),
        ({"shift": [-2, 2]}, "shift −2 px to 2 px; no change of rotation, scale, shear and tilt"),
        (
            {"azimuth": {"values": [340, 0, 20]}, "elevation": [0, 24]},
            (
                "no change of rotation, shift, scale, shear and tilt; azimuth 340°, 0° and 20°; "
                "elevation 0° to 24°"
            ),
        ),
        (
            {"rotation": {"start": -180, "stop": 150, "step": 30}, "contrast": [0.5, 1]},
            (
                "rotation −180° to 150° in steps of 30°; contrast ×0.5 to ×1; "
                "no change of shift, scale, shear and tilt"
            ),
        ),
        (
            {"rotation": 90, "part": {"width": 8, "height": 4.5}},
            (
                "rotation 90° only; of a window of 8 × 4.5 px; "
                "no change of shift, scale, shear and tilt"
            ),
        ),
        (
            {"rotation": [0, 9], "part": "object"},
            (
                "rotation 0° to 9°; of the object, its background unchanged; "
                "no change of shift, scale, shear and tilt"
            ),
        ),
        (
            {"tilt_x": [-15, 15]},
            (
                "tilt about the x axis −15° to 15°; no change of rotation, shift, scale, shear and "
                "tilt about the y axis"
            ),
        ),
        (
            {"tilt_x": 10, "tilt_y": [-5, 5], "shift": [-2, 2]},
            (
                "shift −2 px to 2 px; tilt about the x axis 10° only; tilt about the y axis −5° to "
                "5°; no change of rotation, scale and shear"
            ),
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_ranges(views, words):
    text = _ranges(ViewRange.model_validate(views))
    assert set(text.split("; ")) == set(words.split("; "))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"measure": "accuracy-by-split", "splits": ["familiar", "rearranged"]},
            "Familiar and rearranged test images.",
        ),
        (
            {"measure": "accuracy-by-split", "splits": [], "ranges": {"aside": {"azimuth": 90}}},
            "Aside: azimuth 90° only; no change of rotation, shift, scale, shear and tilt.",
        ),
        (
            {"measure": "averaged-accuracy"},
            "The probabilities that a model gives 13 crops of each test image are averaged.",
        ),
        (
            {"measure": "accuracy-by-view", "grid": {"scale": {"start": 1, "stop": 2, "step": 1}}},
            (
                "Every test image is shown at 2 views, one factor changed at a time: scale ×1 to "
                "×2 in steps of 1."
            ),
        ),
        ({"measure": "attacks"}, str(Attacks.__doc__).partition("\n")[0]),
    ],
    ids=["splits", "ranges", "crops", "views", "others"],
)
def test_measures(config, words):
    text = _measure(parse_config(config))
    for each in (text, words):
        assert each.endswith(".")
    start, _, parts = text.rstrip(".").partition(": ")
    expected_start, _, expected_parts = words.rstrip(".").partition(": ")
    assert start == expected_start
    assert set(parts.split("; ")) == set(expected_parts.split("; "))


ALL = {"recipe.augmentation": ["RandAugment"]}
NOT_THE_FIRST = {"models.0.recipe": {"augmentation": []}, "models.0.reason": "a test"}
LABELS = [entry.label for entry in load_benchmark("quick").models]
CASES = {"vary": {"name": "case", "cases": {"none": {}, "more": {"views.rotation": 90}}}}
WIDTHS = {"vary": {"name": "width", "cases": {"a": {}, "b": {"models.0.arguments.width": 3}}}}


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({}, []),
        (ALL, ["augmented by RandAugment(n=2, m=9), as kornia"]),
        ({**ALL, **NOT_THE_FIRST}, ["Those of some models are then augmented"]),
        (
            {**ALL, **NOT_THE_FIRST, "models.0.recipe": {"augmentation": ["RandomErasing"]}},
            ["ways that differ between models"],
        ),
        (CASES, ["Some cases have other views"]),
        ({**ALL, **CASES}, ["augmented by RandAugment", "Some cases have other views"]),
        (
            {**ALL, **NOT_THE_FIRST, **CASES},
            ["Those of some models are then augmented", "Some cases have other views"],
        ),
        (WIDTHS, []),
    ],
    ids=["none", "all", "some", "differing", "cases", "all+cases", "some+cases", "widths"],
)
def test_augmentation_and_cases(changes, sentences):
    text = _augmentations_and_cases(load_benchmark("quick", changes), LABELS)
    # A period also stands within the arguments of an operation.
    written = [part for part in text.split(".") if "(n=2" in part or "see" in part]
    assert len(written) == len(sentences)
    for sentence, words in zip(written, sentences, strict=True):
        assert words in sentence


def test_a_model_without_the_augmentation_of_the_others():
    words = "CNN (no augmentation: a test)"
    benchmark = load_benchmark("quick", {**ALL, **NOT_THE_FIRST})
    assert words in _recipes(benchmark, LABELS)
    assert words not in _recipes(benchmark, LABELS[1:])
    assert "models" not in _augmentations_and_cases(benchmark, LABELS[1:])


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"views.rotation": [-9, 9]}, "rotation −9° to 9°"),
        ({"views.rotation": 0}, "no change of rotation"),
        ({"views.part.width": 8}, "of a window of 8 × 9 px"),
        (
            {"views": {"rotation": [-9, 9]}},
            "rotation −9° to 9°, no change of shift, scale, shear and tilt",
        ),
        (
            {"views": {}, "recipe.steps": 9},
            "no change of rotation, shift, scale, shear and tilt, recipe.steps 9",
        ),
        ({"recipe.augmentation": []}, "no augmentation"),
    ],
    ids=str,
)
def test_the_changes_of_a_case(case, words):
    vary = {"name": "case", "cases": {"none": {}, "other": case}}
    views = {"rotation": [-5, 5], "part": {"width": 9, "height": 9}}
    text = _varied(load_benchmark("quick", {"views": views, "vary": vary}))
    assert text == f"Case: none (as stated here); other ({words}). All else is the same."


def test_a_warm_up_is_told():
    text = _recipes(load_benchmark("quick", {"recipe.warmup": 0.05}), LABELS)
    assert "rising during the first 5 % of the steps, then falling along a cosine to" in text
