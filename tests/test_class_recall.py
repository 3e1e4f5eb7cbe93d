"""Recall of the classes of an image, against loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.contracts import class_recall, predicted_classes


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 6))
@settings(max_examples=60)
def test_recall_of_several_objects(seed, objects, classes):
    objects = min(objects, classes)
    draws = torch.Generator().manual_seed(seed)
    scores = torch.rand(5, classes, generator=draws)
    targets = torch.zeros(5, classes)
    for row in targets:
        row[torch.randperm(classes, generator=draws)[:objects]] = 1
    recall = class_recall(scores.log(), targets)
    for row in range(5):
        best = set(scores[row].argsort(descending=True)[:objects].tolist())
        present = set(targets[row].nonzero()[:, 0].tolist())
        assert recall[row] == pytest.approx(len(best & present) / objects)
    if objects == 1:
        assert torch.equal(recall, class_recall(scores.log(), targets.argmax(1)))


def test_as_many_classes_are_predicted_as_there_are_objects():
    targets = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 0, 0]])
    scores = torch.tensor([[3.0, 2.0, 1.0], [2.0, 3.0, 1.0], [3.0, 1.0, 2.0], [3.0, 2.0, 1.0]])
    assert predicted_classes(scores, targets).tolist() == [
        [True, True, False],
        [True, True, False],
        [True, False, True],
        [True, False, False],  # one object, regardless of the other images of the batch
    ]


def test_no_class_is_predicted_from_nan():
    scores = torch.tensor([[torch.nan, 0.0], [0.0, -torch.inf]])
    targets = torch.tensor([0, 0])
    assert predicted_classes(scores, targets).tolist() == [[False, False], [True, False]]
    assert class_recall(scores, targets).tolist() == [0, 1]
    assert class_recall(scores, torch.eye(2).long()[targets]).tolist() == [0, 1]
