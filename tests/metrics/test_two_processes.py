"""Metrics over two processes with unequal shares equal those over one."""

import json
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import distributed

from capsbench.metrics.calibration_error import CalibrationError
from capsbench.metrics.view_accuracy import ViewAccuracy

IMAGES, VIEWS, CLASSES = 31, 4, 3
SHARES = {"unequal": ([8, 8, 4], [11]), "one has none": ([20, 11], [])}


def computed(batches):
    """Return the values of the metrics over batches of image numbers, as lists."""
    randomness = torch.Generator().manual_seed(0)
    correct = torch.rand(VIEWS, IMAGES, generator=randomness) < 0.7
    presences = torch.rand(IMAGES, CLASSES, generator=randomness)
    calibration, by_view = CalibrationError(), ViewAccuracy(VIEWS)
    for rows in batches:
        calibration.update(presences[rows], correct[:CLASSES, rows].T)
        for view in range(VIEWS):
            by_view.update(view, correct[view, rows])
    return [part.tolist() for part in (*calibration.compute(), by_view.compute())]


def image_numbers(shares):
    numbers = torch.arange(IMAGES).split([size for share in shares for size in share])
    return numbers[: len(shares[0])], numbers[len(shares[0]) :]


def join(rank, folder):
    """Compute the metrics as one of two processes, and write the values."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=120),
    )
    try:
        values = {name: computed(image_numbers(share)[rank]) for name, share in SHARES.items()}
    finally:
        distributed.destroy_process_group()
    Path(folder, f"{rank}.json").write_text(json.dumps(values))


def test_two_processes_equal_one(tmp_path):
    whole = computed([torch.arange(IMAGES)])
    assert len(whole) == 5
    other = get_context("spawn").Process(target=join, args=(1, tmp_path))
    other.start()
    join(0, tmp_path)
    other.join()
    assert other.exitcode == 0
    for rank in range(2):
        both = json.loads((tmp_path / f"{rank}.json").read_text())
        for name in SHARES:
            for one, expected in zip(both[name], whole, strict=True):
                torch.testing.assert_close(
                    torch.tensor(one), torch.tensor(expected), rtol=1e-12, atol=0, equal_nan=True
                )
