"""Metrics of attacks and Lie derivatives: two processes with unequal shares count as one."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed

from capsbench.measures._attacked_accuracy import AccuracyUnderAttack, Outcome
from capsbench.measures._derivatives import Derivative, MeanLieDerivative

SHARES = [slice(0, 8), slice(8, 11)]
BATCH = 3


def measured(images):
    """All values of the images of a share, in batches."""
    generator = torch.Generator().manual_seed(0)
    correct, reached, blind = torch.rand(3, 4, 11, generator=generator) < 0.5
    value, derivative = torch.randn(2, 11, 5, generator=generator)
    attacked, moved = AccuracyUnderAttack(4, targeted=True), MeanLieDerivative([5])
    for start in range(images.start, images.stop, BATCH):
        part = slice(start, min(start + BATCH, images.stop))
        attacked.update(Outcome(correct[:, part], reached[:, part]), blind[:, part])
        moved.update(Derivative(value[part], derivative[part]))
    values = {**attacked.compute(), **moved.compute()}
    return {name: value.tolist() for name, value in values.items()}


def measured_together(rank, folder):
    """The values of the images of both processes, of which each sees its share."""
    distributed.init_process_group(
        "gloo",
        init_method=(folder / "meeting").as_uri(),
        rank=rank,
        world_size=len(SHARES),
        timeout=timedelta(minutes=2),
    )
    try:
        return measured(SHARES[rank])
    finally:
        distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    expected = measured(slice(0, 11))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, "1", str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as other:
        answers = [measured_together(0, tmp_path), json.loads(other.communicate(timeout=60)[0])]
    for answer in answers:
        assert answer.keys() == expected.keys()
        for name, value in expected.items():
            assert answer[name] == pytest.approx(value, rel=1e-12), name


if __name__ == "__main__":
    print(json.dumps(measured_together(int(sys.argv[1]), Path(sys.argv[2]))))
