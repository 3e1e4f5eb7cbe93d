"""Files of trainings and of benchmarks as artifacts on Weights & Biases."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from capsbench.records import BenchmarkFolder, CellFolder, Results
from capsbench.reporting.comparisons.confusions import CSV_NAME

if TYPE_CHECKING:
    from wandb import Artifact

PAGE_FILES = ("index.html", "report.md", "results.csv", "differences.csv", CSV_NAME)


def model_artifact(cell: CellFolder, rule: str, model: str) -> Artifact:
    """Return the weights that a rule selected, with their card; one artifact for a training.

    Args:
        cell: Folder of the training.
        rule: Selection rule.
        model: Name of the model.
    """
    import wandb

    artifact = wandb.Artifact(
        f"model-{cell.path.name}", type="model", metadata={"model": model, "rule": rule}
    )
    artifact.add_dir(str(cell.checkpoint(rule)))
    return artifact


def records_artifact(results: Results, folder: BenchmarkFolder) -> Artifact:
    """Return the records of a benchmark and its page, from which both are made again."""
    import wandb

    artifact = wandb.Artifact(f"records-{results.benchmark.name}", type="records")
    runs = folder.path.parent
    files = [folder.record, folder.examples, *(folder.report / name for name in PAGE_FILES)]
    for path in _present([*files, *_cell_files(results, runs)]):
        artifact.add_file(str(path), name=path.relative_to(runs).as_posix())
    return artifact


def _cell_files(results: Results, runs: Path) -> Iterable[Path]:
    for reference in (cell.reference for cell in results.cells):
        cell = CellFolder(runs / reference.path)
        yield from (cell.config, cell.training, cell.weights, cell.failure, cell.trajectory)
        for name in reference.measures.values():
            yield from (cell.measure(name), cell.per_image(name))


def _present(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.is_file()]
