"""Digests of results: what must be the same in each run of a benchmark on one kind of machine."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from capsbench.files.atomic import read_json, read_rows
from capsbench.records.folders import CellFolder, cells_in

OUTCOME = ("status", "selected", "weights")  # of a training; its weights by their SHA-256


def result_digests(runs: Path) -> dict[str, str]:
    """Return a digest of each result of a runs folder, by the place of its file.

    Results are weights, trajectories without times, values of measures, and arrays of single
    images. Dates, times, rates and devices are left out.

    Args:
        runs: The runs folder.

    Raises:
        UserError: A record is damaged.
    """
    digests = {}
    for cell in cells_in(runs):
        folder = CellFolder(runs / cell)
        for path in (folder.training, folder.trajectory, *folder.measure("").parent.glob("[!.]*")):
            if path.is_file():
                digests[path.relative_to(runs).as_posix()] = _digest(path, folder)
    return digests


def _digest(path: Path, folder: CellFolder) -> str:
    content: Any
    if path == folder.training:
        record = read_json(path)
        content = {name: record[name] for name in OUTCOME}
    elif path == folder.trajectory:
        content = [{**row, "seconds": 0} for row in read_rows(path)]
    elif path.suffix == ".json":
        content = read_json(path)["values"]
    else:
        with np.load(path, allow_pickle=False) as arrays:
            content = {name: sha256(arrays[name].tobytes()).hexdigest() for name in sorted(arrays)}
    return sha256(repr(content).encode()).hexdigest()
