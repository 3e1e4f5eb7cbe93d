"""Two processes with unequal shares find what one finds, to the last image."""

import json
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import distributed

from capsbench.measures._reliability import CalibrationError
from capsbench.measures._routing_agreement import PresenceAgainstSpread
from capsbench.measures.accuracy_by_view import AccuracyByView
from capsbench.measures.consistency import Consistency
from capsbench.measures.part_whole import PartWhole
from capsbench.measures.worst_of_k import WorstOfK

IMAGES, VIEWS, CAPSULES = 31, 4, 3
SHARES = {"unequal": ([8, 8, 4], [11]), "one has none": ([20, 11], [])}


def found(batches):
    """The values of all metrics over batches of image numbers, in plain numbers."""
    randomness = torch.Generator().manual_seed(0)
    correct = torch.rand(VIEWS, IMAGES, generator=randomness) < 0.7
    answers = torch.randint(3, (VIEWS + 1, IMAGES), generator=randomness)
    presences = torch.rand(2, IMAGES, CAPSULES, generator=randomness)
    metrics = [WorstOfK(VIEWS), Consistency(VIEWS), CalibrationError(), PresenceAgainstSpread(3)]
    metrics.append(PartWhole())
    by_view = AccuracyByView(VIEWS)
    for rows in batches:
        inputs = [
            (correct[:, rows],),
            (answers[0, rows], answers[1:, rows]),
            (presences[0, rows], correct[:CAPSULES, rows].T),
            tuple(presences[:, rows]),
            tuple(presences[:, rows, 0].double()),
        ]
        for metric, values in zip(metrics, inputs, strict=True):
            metric.update(*values)
        for view in range(VIEWS):
            by_view.update(view, correct[view, rows])
    outcomes = [*(metric.compute() for metric in metrics), by_view.compute()]
    parts = [
        part for value in outcomes for part in (value if isinstance(value, tuple) else [value])
    ]
    return [torch.as_tensor(part).tolist() for part in parts]


def batches(shares):
    numbers = torch.arange(IMAGES).split([size for share in shares for size in share])
    return numbers[: len(shares[0])], numbers[len(shares[0]) :]


def join(rank, folder):
    """What each of both processes finds, as one of them."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=120),
    )
    try:
        values = {name: found(batches(shares)[rank]) for name, shares in SHARES.items()}
    finally:
        distributed.destroy_process_group()
    Path(folder, f"{rank}.json").write_text(json.dumps(values))


def test_two_processes_equal_one(tmp_path):
    whole = found([torch.arange(IMAGES)])
    assert len(whole) == 1 + 1 + 4 + 5 + 4 + 1
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
