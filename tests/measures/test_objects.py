"""The object of each image is found again by the image's number."""

import numpy as np

from capsbench.measures._objects import with_objects
from capsbench.statistics.intervals import bootstrap_over_images, by_object
from tests.data.made_up import Flat, Turntable


def test_images_of_one_object_have_its_number():
    data = Turntable()
    test = data.split("test")
    rows = np.random.default_rng(0).permutation(len(test.index))[:7]
    numbers = test.index.numpy()
    samples = {"index": numbers, "familiar/index": numbers[rows], "right": np.ones(3)}
    found = with_objects(samples, data)
    assert found.keys() == {*samples, "object", "familiar/object"}
    toys = list(zip(test.targets.tolist(), test.factors["instance"].tolist(), strict=True))
    for one in range(len(toys)):
        for other in range(len(toys)):
            assert (toys[one] == toys[other]) == (found["object"][one] == found["object"][other])
    np.testing.assert_array_equal(found["familiar/object"], found["object"][rows])


def test_a_set_that_does_not_tell_its_objects_has_none():
    data = Flat()
    samples = {"index": data.split("test").index.numpy()}
    assert with_objects(samples, data).keys() == {"index"}


def test_objects_count_by_their_images():
    table = np.random.default_rng(1).random((2, 9))
    objects = np.array([7, 7, 7, 7, 3, 3, 5, 5, 5])
    found = by_object(table, objects)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found.mean(axis=1), table.mean(axis=1))
    weight = np.array([2, 3, 4]) / 3
    means = np.stack([table[:, objects == one].mean(axis=1) for one in (3, 5, 7)], axis=1)
    whole = table.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found, whole + weight * (means - whole))


def test_the_interval_over_images_of_few_objects_is_wider():
    random = np.random.default_rng(2)
    objects = np.repeat(np.arange(10), 40)
    right = random.random(400) < random.random(10)[objects]
    together, apart = (
        np.ptp(bootstrap_over_images(right, objects=each).interval or (0, 0))
        for each in (objects, None)
    )
    assert together > 2 * apart
