"""The limits: not their values, which are the machine's, but how they are taken."""

import itertools
import time

import pytest
import torch

from capsbench.speed import limits
from capsbench.speed.limits import Extent, measure_limits

SMALL = Extent(products=((8, 4, 2), (16, 4, 2)), copied=1024)


@pytest.fixture
def ticking(monkeypatch):
    """A clock on which everything takes 1 s, then 2 s, then 3 s."""
    times = itertools.chain(
        [0],
        itertools.accumulate(
            itertools.chain.from_iterable((seconds, 0) for seconds in itertools.count(1))
        ),
    )
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))


def test_the_best_run_of_the_fastest_product_counts(ticking):
    found = measure_limits("cpu", ("fp32",), SMALL)
    # The first product is timed from 1 s on, the second from 8 s on, the copy from 15 s on.
    assert found.matmul == {"fp32": max(2 * 8 * 4 * 2 / 1, 2 * 16 * 4 * 2 / 8)}
    assert found.copy == 2 * 1024 / 15


def test_each_precision_has_its_own_limit():
    found = measure_limits("cpu", ("fp32", "bf16"), SMALL)
    assert set(found.matmul) == {"fp32", "bf16"}
    assert all(rate > 0 for rate in (*found.matmul.values(), found.copy))


def test_products_are_of_the_precision(monkeypatch):
    seen = []
    multiply = torch.mm

    def watched(left, right, out):
        seen.append((left.dtype, right.dtype))
        return multiply(left, right, out=out)

    monkeypatch.setattr(torch, "mm", watched)
    measure_limits("cpu", ("fp32", "bf16"), SMALL)
    calls = len(SMALL.products) * (limits.REPEATS + 1)
    assert seen == [(torch.float32,) * 2] * calls + [(torch.bfloat16,) * 2] * calls
