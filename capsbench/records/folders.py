"""Layout of the runs folder: the place of every record, without its contents.

::

    runs/<data>/<model>/<seed>-<fingerprint>/
        config.json                       what determines the training
        state.ckpt                        the resumable state, until the training is done
        trajectory.csv                    one row per validation
        profile/                          of some steps, if requested: trace.json.gz, operations.txt
        checkpoints/<rule>/               the model that a rule selected: model.safetensors,
                                          config.json, README.md (its card)
        training.json                     written last: the training is done
        replaced.json                     training.json of before, while it is trained again
        failure.json                      the job that failed last, until it succeeds
        log.txt                           output of the jobs on the cell
        tensorboard/, csv/                curves of the training, if requested
        measures/<measure>-<fingerprint>.json, .npz
        .lease                            who trains it, while a process does
        measures/.<measure>-<fingerprint>.lease     who computes that measure
    runs/<data>/<model>/elsewhere-<fingerprint>/    a model that was trained elsewhere
        weights.json                      the model, its weights, and the data and views
        measures/<measure>-<fingerprint>.json, .npz
    runs/<benchmark>/benchmark.json       the protocol and the list of its cells
    runs/<benchmark>/examples.npz         test images at each view of the grid
    runs/<benchmark>/report/              the page, made from all of the above
    runs/<benchmark>/paper/               tables and figures for a paper, made on request
    runs/<benchmark>/mirrored.json        what Weights & Biases shows of the benchmark
    runs/<benchmark>/wandb-views.json     ids of its report and its view there
    runs/wandb/                           runs of Weights & Biases, also those that are not sent yet
    runs/searches/<name>.json             a search: all trials of a benchmark's models

``<data>`` is the name of the data module, or the user's own name of a folder of images. It can also
be the name of a benchmark: the files of both have different names.

A folder can be a symbolic link to another place, and is then used there. A record is replaced by a
rename: of a record that is a link, the link is replaced, and the file that it names stays as it is.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from capsbench.files.lease import LEASE


def file_name(text: str) -> str:
    """Return a text as part of the name of a file or folder: small letters, digits and hyphens.

    >>> file_name("My Net (2)")
    'my-net-2'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def inside(path: str) -> str:
    """Return a relative path that stays inside of the folder to which it is relative.

    Raises:
        ValueError: It is absolute, or leads out of the folder.

    >>> inside("digits/cnn-small/0-0123456789ab")
    'digits/cnn-small/0-0123456789ab'
    """
    parts = path.split("/") if path else []
    if not all(re.fullmatch(r"[^\\:\n]+", part) and part not in (".", "..") for part in parts):
        raise ValueError("expected a path inside of the runs folder, without '..'")
    return path


Inside = Annotated[str, AfterValidator(inside)]  # a path relative to the runs folder
CELL_NAME = re.compile(r"(\d+|elsewhere)-[0-9a-f]{12}")  # of the folder of a cell
SEARCHES = "searches"  # name of the folder of searches
FileName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]


@dataclass(frozen=True)
class CellFolder:
    """Folder of one training, or of one model trained elsewhere, and its measures."""

    path: Path

    @property
    def names(self) -> set[str]:
        """Name of the folder, and of the one that it is a symbolic link to."""
        return {self.path.absolute().name, Path(os.path.realpath(self.path)).name}

    @property
    def config(self) -> Path:
        """File of the `TrainingConfig`."""
        return self.path / "config.json"

    @property
    def weights(self) -> Path:
        """File of the `WeightsRecord` of a model that was trained elsewhere."""
        return self.path / "weights.json"

    @property
    def state(self) -> Path:
        """Resumable state of an unfinished training."""
        return self.path / "state.ckpt"

    @property
    def trajectory(self) -> Path:
        """Table with one row per validation."""
        return self.path / "trajectory.csv"

    @property
    def training(self) -> Path:
        """File of the `TrainingRecord`; its presence means that the training is done."""
        return self.path / "training.json"

    @property
    def replaced(self) -> Path:
        """Former `TrainingRecord` of a training that lost files, until it is done again."""
        return self.path / "replaced.json"

    @property
    def failure(self) -> Path:
        """File of the `FailureRecord`; its presence means that a job on the cell failed."""
        return self.path / "failure.json"

    @property
    def log(self) -> Path:
        """Output of the jobs on the cell, in the order in which they ran."""
        return self.path / "log.txt"

    @property
    def lease(self) -> Path:
        """File that says which process trains the cell, see `capsbench.files.lease`."""
        return self.path / LEASE

    def measure_lease(self, name: str) -> Path:
        """Return the file that says which process computes a measure."""
        return self.path / "measures" / f".{name}{LEASE}"

    @property
    def profile(self) -> Path:
        """Folder of a profile of some steps; present only if a profile was requested."""
        return self.path / "profile"

    def checkpoint(self, rule: str) -> Path:
        """Return the folder of the model that a selection rule selected."""
        return self.path / "checkpoints" / rule

    def measure(self, name: str) -> Path:
        """Return the file of a `MeasureRecord`, ``name`` being ``<measure>-<fingerprint>``."""
        return self.path / "measures" / f"{name}.json"

    def per_image(self, name: str) -> Path:
        """Return the file of a measure's per-image arrays."""
        return self.measure(name).with_suffix(".npz")


def search_file(runs: Path, name: str) -> Path:
    """Return the file of a `SearchRecord` in a folder of runs, or of results."""
    return runs / SEARCHES / f"{name}.json"


@dataclass(frozen=True)
class BenchmarkFolder:
    """Folder of one benchmark: its record, example images and report."""

    path: Path

    @property
    def record(self) -> Path:
        """File of the `BenchmarkRecord`."""
        return self.path / "benchmark.json"

    @property
    def claims(self) -> Path:
        """File of the `ClaimsRecord`, in a folder of claims."""
        return self.path / "claims.json"

    @property
    def examples(self) -> Path:
        """Example images at each view of the grid."""
        return self.path / "examples.npz"

    @property
    def lease(self) -> Path:
        """Lease of the process that writes the record."""
        return self.path / ".benchmark.lease"

    @property
    def report_lease(self) -> Path:
        """Lease of the process that builds the page."""
        return self.path / ".report.lease"

    @property
    def log(self) -> Path:
        """Output of the jobs that build the page."""
        return self.path / "report.log"

    @property
    def mirrored(self) -> Path:
        """State of the benchmark's runs on Weights & Biases: unchanged ones are not sent again."""
        return self.path / "mirrored.json"

    @property
    def views(self) -> Path:
        """Ids of the report and the view on Weights & Biases, which keep their addresses."""
        return self.path / "wandb-views.json"

    @property
    def report(self) -> Path:
        """Folder of the page."""
        return self.path / "report"

    @property
    def paper(self) -> Path:
        """Folder of the tables and figures for a paper."""
        return self.path / "paper"


def cells_in(runs: Path) -> list[str]:
    """Return the folders of all cells of a runs folder, relative to it, sorted."""
    folders = (path for path in runs.glob("*/*/*") if CELL_NAME.fullmatch(path.name))
    return sorted(path.relative_to(runs).as_posix() for path in folders if path.is_dir())


def benchmarks_in(runs: Path) -> list[str]:
    """Return the names of the benchmarks and claims with records in a runs folder, sorted."""
    names = (BenchmarkFolder(runs).record.name, BenchmarkFolder(runs).claims.name)
    return sorted({path.parent.name for name in names for path in runs.glob(f"*/{name}")})
