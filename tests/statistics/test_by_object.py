"""Outcomes of objects, and intervals over objects instead of images."""

import numpy as np

from capsbench.statistics.intervals import bootstrap_over_images, by_object


def test_objects_count_by_their_images():
    table = np.random.default_rng(1).random((2, 9))
    objects = np.array([7, 7, 7, 7, 3, 3, 5, 5, 5])
    totals = by_object(table, objects)
    assert totals.shape == (2, 3)
    np.testing.assert_allclose(totals.mean(axis=1), table.mean(axis=1))
    weight = np.array([2, 3, 4]) / 3
    means = np.stack([table[:, objects == one].mean(axis=1) for one in (3, 5, 7)], axis=1)
    whole = table.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(totals, whole + weight * (means - whole))


def test_the_interval_over_images_of_few_objects_is_wider():
    random = np.random.default_rng(2)
    objects = np.repeat(np.arange(10), 40)
    outcomes = random.random(400) < random.random(10)[objects]
    together, apart = (
        np.ptp(bootstrap_over_images(outcomes, objects=each).interval or (0, 0))
        for each in (objects, None)
    )
    assert together > 2 * apart
