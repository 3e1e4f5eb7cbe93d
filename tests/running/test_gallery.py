"""From a number to its images: predictions in records, the gallery, and the confusions."""

from __future__ import annotations

import csv
import io
from collections import Counter

import numpy as np
import pytest

from capsbench.records import Results, load_results
from capsbench.reporting.charts.confusion_charts import confusion_charts
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW
from capsbench.reporting.comparisons.confusions import confusions_csv, model_confusions
from capsbench.reporting.comparisons.per_image import load_arrays
from capsbench.reporting.gallery import choose_images, gallery
from capsbench.reporting.tables.class_table import class_table
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
    confused = model_confusions(results)
    assert confused is not None
    recognized, taken = confusion_charts(confused)
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


def test_the_table_of_classes_counts_images_at_familiar_and_novel_views(results: Results):
    confused = model_confusions(results)
    assert confused is not None
    rows = [row.contents() for row in class_table(confused, results.color_indices()).rows]
    for title, cells in results.by_label().items():
        for number, name in enumerate(confused.names):
            seen: dict[str, list[int]] = {"familiar": [], "novel": []}
            for cell in cells:
                arrays = load_arrays(cell, ACCURACY_BY_VIEW)
                for view, predicted in zip(confused.views, arrays["predicted"], strict=True):
                    split = "familiar" if view.split == "familiar" else "novel"
                    seen[split] += predicted[arrays["target"] == number].tolist()
            (row,) = [row for row in rows if (row[0].text, row[1].text) == (title, name)]
            for cell_, split in zip(row[2:4], seen, strict=True):
                assert cell_.number == pytest.approx(np.mean(np.equal(seen[split], number)))
            wrong = Counter(each for each in seen["novel"] if each != number)
            if wrong:
                _, images = wrong.most_common(1)[0]
                tied = {confused.names[c] for c, n in wrong.items() if n == images}
                assert row[4].text.partition(" (")[0] in tied
                assert f"({100 * images / len(seen['novel']):.1f} %)" in row[4].text


def test_the_csv_of_confusions_has_every_prediction(results: Results):
    confused = model_confusions(results)
    assert confused is not None
    rows = list(csv.DictReader(io.StringIO(confusions_csv(confused))))
    for title, cells in results.by_label().items():
        evaluated = sum(int(load_arrays(c, ACCURACY_BY_VIEW)["evaluated"].sum()) for c in cells)
        right = sum(int(load_arrays(c, ACCURACY_BY_VIEW)["correct"].sum()) for c in cells)
        own = [row for row in rows if row["label"] == title]
        assert sum(int(row["images"]) for row in own) == evaluated
        assert sum(int(r["images"]) for r in own if r["class"] == r["predicted"]) == right
        assert {float(row["view"]) for row in own} == {-90, 0, 90}


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


def slowly_chosen(predicted, classes, numbers, view):
    """Choose the images of a view one after the other."""
    chosen = []
    for label in dict.fromkeys(classes.tolist()):
        members = [image for image in range(len(classes)) if classes[image] == label]
        others = sorted(
            members[2:],
            key=lambda image: (
                numbers[view, image] < 0,
                -len({int(model[view, image]) for model in predicted}),
                -sum(int(model[view, image]) != label for model in predicted),
                image,
            ),
        )
        chosen += members[:2] + sorted(others[:2])
    return chosen


@pytest.mark.parametrize("seed", range(3))
def test_chosen_images_are_the_first_and_those_on_which_models_differ_most(seed: int):
    generator = np.random.default_rng(seed)
    classes = np.repeat([3, 0, 1], 6)
    predicted = generator.integers(-2, 4, size=(3, 4, len(classes)))
    numbers = np.where(generator.random((4, len(classes))) < 0.2, -1, 7)
    places = choose_images(predicted, classes, numbers)
    assert places.tolist() == [slowly_chosen(predicted, classes, numbers, v) for v in range(4)]


def test_a_class_with_few_images_shows_all_of_them():
    classes = np.array([0, 0, 0, 1, 1, 1])
    predicted = np.zeros((1, 2, 6), dtype=int)
    assert (
        choose_images(predicted, classes, np.ones((2, 6), dtype=int)).tolist()
        == [[0, 1, 2, 3, 4, 5]] * 2
    )
