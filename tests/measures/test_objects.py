"""Numbers of objects in addition to the numbers of images."""

import numpy as np

from capsbench.measures._objects import with_objects
from capsbench.measures._result import index_name, object_name
from tests.data.made_up import Flat, Turntable


def test_images_of_one_object_have_its_number():
    data = Turntable()
    test = data.split("test")
    rows = np.random.default_rng(0).permutation(len(test.index))[:7]
    numbers = test.index.numpy()
    arrays = {
        index_name(): numbers,
        index_name("familiar"): numbers[rows],
        "accuracy[split=familiar]": np.ones(7),
    }
    extended = with_objects(arrays, data)
    assert extended.keys() == {*arrays, "object", "object[split=familiar]"}
    objects = extended[object_name()]
    labels = list(zip(test.targets.tolist(), test.factors["instance"].tolist(), strict=True))
    for one in range(len(labels)):
        for other in range(len(labels)):
            assert (labels[one] == labels[other]) == (objects[one] == objects[other])
    np.testing.assert_array_equal(extended[object_name("familiar")], objects[rows])


def test_a_set_that_does_not_distinguish_objects_has_none():
    data = Flat()
    arrays = {index_name(): data.split("test").index.numpy()}
    assert with_objects(arrays, data).keys() == {"index"}
