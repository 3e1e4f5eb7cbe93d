"""Computation of the limits, with a fake clock; their values depend on the machine."""

import itertools
import time

import pytest
import torch

from capsbench.speed import limits
from capsbench.speed.limits import LimitSizes, measure_limits

SMALL = LimitSizes(products=((8, 4, 2), (16, 4, 2)), copy_bytes=1024)


@pytest.fixture
def ticking(monkeypatch):
    """Replace the clock: intervals take 1 s, then 2 s, then 3 s."""
    times = itertools.chain(
        [0],
        itertools.accumulate(
            itertools.chain.from_iterable((seconds, 0) for seconds in itertools.count(1))
        ),
    )
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))


def test_the_best_run_of_the_fastest_product_counts(ticking):
    measured = measure_limits("cpu", ("fp32",), SMALL)
    # The first product is timed from 1 s on, the second from 8 s on, the copy from 15 s on.
    assert measured.matmul == {"fp32": max(2 * 8 * 4 * 2 / 1, 2 * 16 * 4 * 2 / 8)}
    assert measured.copy == 2 * 1024 / 15


def test_each_precision_has_its_own_limit():
    measured = measure_limits("cpu", ("fp32", "bf16"), SMALL)
    assert set(measured.matmul) == {"fp32", "bf16"}
    assert all(rate > 0 for rate in (*measured.matmul.values(), measured.copy))


def test_products_have_the_dtype_of_the_precision(monkeypatch):
    dtypes = []
    multiply = torch.mm

    def recorded(left, right, out):
        dtypes.append((left.dtype, right.dtype))
        return multiply(left, right, out=out)

    monkeypatch.setattr(torch, "mm", recorded)
    measure_limits("cpu", ("fp32", "bf16"), SMALL)
    calls = len(SMALL.products) * (limits.REPEATS + 1)
    assert dtypes == [(torch.float32,) * 2] * calls + [(torch.bfloat16,) * 2] * calls
