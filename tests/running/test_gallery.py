"""From a number to its images: predictions in records, the gallery, and the confusions."""

from __future__ import annotations

import numpy as np
import pytest

from capsbench.records import Results, load_results
from capsbench.reporting.charts.confusion_charts import confusion_charts
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW
from capsbench.reporting.comparisons.per_image import load_arrays
from capsbench.reporting.gallery import gallery
from capsbench.reporting.wandb.aggregate import _gallery_rows
from capsbench.reporting.wandb.evaluation import confusion_rows
from tests.reporting.charts.test_charts import drawn, rows


@pytest.fixture
def results(run, tiny_protocol, session) -> Results:
    run(tiny_protocol)
    return load_results(session.output / "tiny")


def test_predictions_agree_with_what_is_correct(results: Results):
    for cell in results.cells:
        arrays = load_arrays(cell, ACCURACY_BY_VIEW)
        assert arrays["predicted"].dtype == np.int8
        right = arrays["predicted"] == arrays["target"]
        np.testing.assert_array_equal(right, arrays["correct"])


def test_the_gallery_shows_what_was_predicted_for_its_images(results: Results):
    shown = gallery(results)
    assert shown is not None and results.record.examples is not None
    numbers = shown.content["numbers"]
    classes = shown.content["classes"]
    assert len(shown.views) == len(numbers) == len(shown.content["sources"])
    for model, cells in zip(shown.content["models"], results.by_label().values(), strict=True):
        arrays = load_arrays(cells[0], ACCURACY_BY_VIEW)
        column = {int(number): place for place, number in enumerate(arrays["index"])}
        for row, (predicted, images) in enumerate(zip(model["predicted"], numbers, strict=True)):
            for image, number in enumerate(images):
                if number >= 0:
                    assert predicted[image] == arrays["predicted"][row, column[number]]
                    assert classes[image] == arrays["target"][column[number]]
    assert any(number >= 0 for images in numbers for number in images)


def test_confusions_are_counts_of_the_predictions(results: Results):
    recognized, taken = confusion_charts(results)
    label, cells = next(iter(results.by_label().items()))
    arrays = [load_arrays(cell, ACCURACY_BY_VIEW) for cell in cells]
    first = [row for row in rows(taken.spec, "predicted") if row["model"] == label]
    view = first[0]["view"]
    for row in (row for row in first if row["view"] == view):
        expected: dict[int, int] = {}
        for each in arrays:
            for predicted, target in zip(each["predicted"][0], each["target"], strict=True):
                if str(target) == row["class"] and predicted >= 0:
                    expected[int(predicted)] = expected.get(int(predicted), 0) + 1
        assert dict(zip(map(int, row["predicted"]), row["images"], strict=True)) == expected
        assert row["total"] == sum(expected.values())
    share = rows(recognized.spec, "share")[0]
    right = [each["correct"][0][each["target"] == int(share["class"])] for each in arrays]
    assert share["share"] == pytest.approx(np.concatenate(right).mean(), abs=1e-4)
    assert drawn(recognized.spec) is not None
    assert drawn(taken.spec) is not None


def test_tables_of_a_mirror_have_the_same_numbers(results: Results):
    for cell in results.cells:
        arrays = load_arrays(cell, ACCURACY_BY_VIEW)
        rows = list(confusion_rows(cell))
        at_first = [row for row in rows if row[1] == rows[0][1]]
        assert sum(row[-1] for row in at_first) == arrays["evaluated"][0].sum()
        right = sum(images for *_, target, predicted, images in at_first if target == predicted)
        assert right == arrays["correct"][0].sum()
    shown = gallery(results)
    assert shown is not None
    tabled = list(_gallery_rows(results, shown))
    assert {row[1] for row in tabled} == {-90, 0, 90}
    images = sum(number >= 0 for numbers in shown.content["numbers"] for number in numbers)
    assert len(tabled) == images
    assert all(len(row) == 5 + len(shown.labels) for row in tabled)
