"""Invariance, equivariance and read-outs over two unequal processes are those of one."""

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest
import torch
from torch.distributed import destroy_process_group, init_process_group

from capsbench.measures._affine_equivariance import LinearEquivariance
from capsbench.measures._affine_maps import divide
from capsbench.measures._invariance import InvarianceError
from capsbench.measures._linear_probe import LinearReadOut
from capsbench.measures._pose_maps import FibreEquivariance
from capsbench.measures._warped_maps import SpatialEquivarianceError
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views

N = 257
FIRST = (200, 257)  # images of the first process: the second has 57, or none


def values(rows, batch):
    """What the metrics are after some of the images."""
    draws = torch.Generator().manual_seed(0)
    x, gx = torch.randn(2, N, 2, 6, 6, generator=draws)
    classes, index = torch.arange(N) % 2, torch.arange(N) * 3
    view = Views.of_grid([GridView("rotation", 30)])
    metrics = {
        "invariance": InvarianceError(72, 2),
        "spatial": SpatialEquivarianceError(view, (2, 6, 6), (6, 6), num_classes=2),
        "linear": LinearEquivariance(4),
        "fibre": FibreEquivariance((2, 3, 12)),
        "readout": LinearReadOut(10),
    }
    for some in rows.split(batch) if len(rows) else ():
        metrics["invariance"].update(x[some], gx[some], classes[some])
        metrics["spatial"].update(x[some], gx[some], classes[some])
        poses = (each[some].reshape(-1, 2, 3, 12) for each in (x, gx))
        metrics["fibre"].update(*poses, divide(index[some], 0))
        both = torch.stack([gx[some], x[some].roll(1, 1)], dim=1)
        metrics["linear"].update(x[some], both, classes[some], index[some])
        metrics["readout"].update(gx[some], x[some, 0, 0, :2], index[some] // 2, index[some])
    linear, readout = metrics["linear"].compute(), metrics["readout"].compute()
    return [
        *(each.item() for name in ("invariance", "spatial") for each in metrics[name].compute()),
        *(each.item() for each in metrics["fibre"].compute().shares.values()),
        *linear.by_view().explained.tolist(),
        *linear.by_view().kept.tolist(),
        linear.images.sum().item(),
        *readout.r2.tolist(),
        *readout.shuffled.tolist(),
    ]


def values_of_group(rank, meeting):
    """The same after each of the group's shares, as one of its two processes sees it."""
    minute = timedelta(minutes=1)
    init_process_group("gloo", f"file://{meeting}", minute, rank=rank, world_size=2)
    try:
        shares = [torch.arange(N).split([first, N - first])[rank] for first in FIRST]
        return [values(rows, 64) for rows in shares]
    finally:
        destroy_process_group()


def test_two_processes_are_one(tmp_path):
    meeting = str(tmp_path / "meeting")
    other = subprocess.Popen(
        [sys.executable, "-m", "tests.measures.test_equivariance_in_two_processes", meeting],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    expected = pytest.approx(values(torch.arange(N), N), rel=1e-9)
    found = values_of_group(0, meeting)
    output, _ = other.communicate(timeout=60)
    for shares in (*found, *json.loads(output)):
        assert shares == expected


if __name__ == "__main__":
    print(json.dumps(values_of_group(1, sys.argv[1])))
