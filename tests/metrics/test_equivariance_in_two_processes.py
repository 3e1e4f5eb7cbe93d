"""Metrics of layers over two processes with unequal shares equal those of one process."""

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest
import torch
from torch.distributed import destroy_process_group, init_process_group

from capsbench.data.folds import folds_by_image
from capsbench.metrics.invariance import FeatureInvariance
from capsbench.metrics.lie_derivative import MeanLieDerivative
from capsbench.metrics.pose_equivariance import PoseEquivariance

N = 257
FIRST_SHARES = (200, 257)  # images of the first process; the second has 57, or none


def compute_metrics(rows, batch_size):
    """Return the values of the metrics for some of the images."""
    draws = torch.Generator().manual_seed(0)
    x, gx = torch.randn(2, N, 2, 6, 6, generator=draws)
    classes, index = torch.arange(N) % 2, torch.arange(N) * 3
    invariance, poses = FeatureInvariance(72, 2), PoseEquivariance((2, 3, 12))
    derivative = MeanLieDerivative((2, 6, 6))
    for batch in rows.split(batch_size) if len(rows) else ():
        invariance.update(x[batch], gx[batch], classes[batch])
        derivative.update(x[batch], gx[batch])
        warped, transformed = (each[batch].reshape(-1, 2, 3, 12) for each in (x, gx))
        poses.update(warped, transformed, folds_by_image(index[batch]))
    numbers = [*invariance.compute(), *poses.compute().values.values()]
    return [each.item() for each in (*numbers, *derivative.compute().values())]


def compute_in_group(rank, store):
    """Return the values for each division of the images, as one of two processes."""
    minute = timedelta(minutes=1)
    init_process_group("gloo", f"file://{store}", minute, rank=rank, world_size=2)
    try:
        shares = [torch.arange(N).split([first, N - first])[rank] for first in FIRST_SHARES]
        return [compute_metrics(rows, 64) for rows in shares]
    finally:
        destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    store = str(tmp_path / "store")
    other = subprocess.Popen(
        [sys.executable, "-m", "tests.metrics.test_equivariance_in_two_processes", store],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    expected = pytest.approx(compute_metrics(torch.arange(N), N), rel=1e-9)
    first = compute_in_group(0, store)
    output, _ = other.communicate(timeout=60)
    for numbers in (*first, *json.loads(output)):
        assert numbers == expected


if __name__ == "__main__":
    print(json.dumps(compute_in_group(1, sys.argv[1])))
