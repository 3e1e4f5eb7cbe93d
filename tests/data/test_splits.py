"""The share of the largest class."""

import torch

from capsbench.data.splits import largest_class


def test_the_largest_class_is_that_of_most_images():
    assert largest_class(torch.tensor([0, 1, 1, 2])) == 0.5


def test_of_several_objects_it_is_the_most_frequent_set():
    multi_hot = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 1, 0], [1, 0, 1], [1, 1, 0]])
    assert largest_class(multi_hot) == 0.6
