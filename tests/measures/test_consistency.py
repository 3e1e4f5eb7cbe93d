"""Consistency of answers, right or wrong."""

import pytest
import torch

from capsbench.errors import UserError
from capsbench.measures.consistency import Consistency, consistency

STILL = torch.tensor([0, 1, 2, 1, 0])
MOVED = torch.tensor([[0, 1, 2, 1, 0], [0, 1, 0, 0, 0], [1, 2, 0, 0, 1]])


def test_the_share_of_equal_answers_by_view():
    assert consistency(STILL, MOVED).tolist() == [1.0, 0.6, 0.0]
    assert consistency(STILL[:0], MOVED[:, :0]).isnan().all()


def test_batches_add_up():
    metric = Consistency(3)
    for columns in (slice(0, 1), slice(1, 5)):
        metric.update(STILL[columns], MOVED[:, columns])
    assert metric.compute().tolist() == consistency(STILL, MOVED).tolist()
    with pytest.raises(UserError, match=r"3 views .* 2 views"):
        metric.update(STILL, MOVED[:2])


def test_it_draws_itself():
    metric = Consistency(3)
    metric.update(STILL, MOVED)
    _, axes = metric.plot()
    assert axes.lines[0].get_ydata().tolist() == [1.0, 0.6, 0.0]
    _, axes = metric.plot(metric.compute())
    assert axes.get_ylabel() == "Consistency"
