"""Rows of group ``executors``: one run of tiny cells on each executor, with the same results."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from capsbench.records.digests import result_digests
from capsbench.speed.rows import Comparison, Row, Work
from capsbench.speed.tiny_cells import NETWORKS, as_file, tiny_protocol

EXECUTORS: Mapping[str, tuple[str, ...]] = {
    "this process": ("--workers", "0"),
    "1 worker": ("--workers", "1"),
    "2 workers": ("--workers", "2"),
    "Ray": ("--executor", "ray", "--workers", "2"),
    "submitit": ("--executor", "slurm", "--slurm", "cluster=local", "--workers", "2"),
}
PACKAGES = {"Ray": "ray", "submitit": "submitit"}


@dataclass(frozen=True)
class ExecutorSizes:
    """Sizes of the runs.

    Attributes:
        seeds: Seeds of each of the three networks.
        steps: Steps of each training.
    """

    seeds: int = 12
    steps: int = 60


@dataclass
class _Runs:
    """Runs of one benchmark in temporary folders, and the results of the first one.

    Attributes:
        sizes: Sizes of the runs.
        digests: Digests of the results of the first run.
    """

    sizes: ExecutorSizes
    digests: dict[str, str] = field(default_factory=dict)

    def run(self, options: tuple[str, ...]) -> None:
        """Run the benchmark from its start.

        Args:
            options: Options of the executor.

        Raises:
            RuntimeError: A result differs from the first run's.
        """
        with TemporaryDirectory(prefix="capsbench-executors-") as place:
            file, runs = Path(place, "executors.yaml"), Path(place, "runs")
            protocol = tiny_protocol("executors", self.sizes.seeds, steps=self.sizes.steps)
            file.write_text(as_file(protocol), encoding="utf-8")
            common = ("--output", str(runs), "--device", "cpu", "--wandb", "off")
            command = [sys.executable, "-m", "capsbench", "run", str(file), *common, *options]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            digests = result_digests(runs)
        self.digests = self.digests or digests
        places = self.digests | digests
        differing = [name for name in places if self.digests.get(name) != digests.get(name)]
        if differing or not digests:
            raise RuntimeError(f"{' '.join(options)}: {len(differing)} results differ: {differing}")


def comparisons(sizes: ExecutorSizes) -> list[Comparison]:
    """Compare whole runs, each from the start of its process to its page, by wall time.

    All must have the same weights, trajectories and values: a row whose results differ from the
    first one's is an error.
    """
    runs = _Runs(sizes)
    rows = tuple(
        Row(
            name,
            partial(_prepare, runs, options),
            measures_memory=False,
            not_measured=_missing(name),
        )
        for name, options in EXECUTORS.items()
    )
    cells = len(NETWORKS) * sizes.seeds
    return [Comparison(f"{cells} tiny cells", rows, rounds=1)]


def _prepare(runs: _Runs, options: tuple[str, ...]) -> Work:
    return partial(runs.run, options)


def _missing(name: str) -> str | None:
    package = PACKAGES.get(name)
    if package is None or find_spec(package) is not None:
        return None
    return f"the package {package} is not installed"
