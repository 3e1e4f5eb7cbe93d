"""The worst of k views, against every subset of views."""

from itertools import combinations

import pytest
import torch

from capsbench.errors import UserError
from capsbench.measures.worst_of_k import WorstOfK, expected_worst, worst_of_k


def outcomes(views, images, rate=0.7):
    randomness = torch.Generator().manual_seed(views)
    return torch.rand(views, images, generator=randomness) < rate


@pytest.mark.parametrize("views", [1, 2, 5])
def test_expected_over_all_subsets(views):
    correct = outcomes(views, 40)
    found = worst_of_k(correct)
    expected = [
        torch.stack(
            [correct[list(some)].all(dim=0).double() for some in combinations(range(views), k)]
        ).mean()
        for k in range(1, views + 1)
    ]
    torch.testing.assert_close(found.by_number, torch.stack(expected))
    assert found.by_number[0] == pytest.approx(float(correct.double().mean()))
    assert found.by_number[-1] == found.accuracy == correct.all(dim=0).double().mean()
    assert found.correct.tolist() == correct.all(dim=0).tolist()
    assert found.view is None
    assert found.loss is None


def test_many_views_lose_no_digit():
    curve = expected_worst(torch.tensor([0] * 500 + [3, 1]))  # 500 or 501 of 501 views
    k = torch.arange(1, 502, dtype=torch.float64)
    torch.testing.assert_close(curve, 0.25 + 0.75 * (501 - k) / 501)


def test_the_worst_view_is_wrong_before_it_is_of_high_loss():
    correct = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    losses = torch.tensor([[0.1, 9.0, 1.0], [0.2, 1.0, 2.0], [0.3, 8.0, 7.0]])
    found = worst_of_k(correct, losses)
    assert found.view is not None
    assert found.loss is not None
    assert found.view.tolist() == [2, 1, 1]
    assert found.loss.tolist() == pytest.approx([0.3, 1.0, 2.0])


def test_no_image_is_undefined():
    assert worst_of_k(torch.ones(3, 0, dtype=torch.bool)).by_number.isnan().all()
    assert WorstOfK(3).histogram.tolist() == [0, 0, 0, 0]


def test_batches_add_up():
    correct = outcomes(4, 50)
    metric = WorstOfK(4)
    for batch in correct.split([1, 30, 19], dim=1):
        metric.update(batch)
    assert metric.compute().tolist() == worst_of_k(correct).by_number.tolist()
    with pytest.raises(UserError, match=r"4 views .* 3 views"):
        metric.update(correct[:3])


def test_it_draws_itself():
    metric = WorstOfK(3)
    metric.update(outcomes(3, 10))
    _, axes = metric.plot()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3"]
    assert axes.lines[0].get_ydata().tolist() == metric.compute().tolist()
    _, axes = metric.plot([metric.compute(), metric.compute()])
    assert len(axes.lines) == 3
