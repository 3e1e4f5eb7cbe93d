"""Clearing of what killed processes left in the folders of cells and benchmarks."""

from __future__ import annotations

from capsbench.files.atomic import is_present, remove
from capsbench.files.lease import try_lease
from capsbench.files.leftovers import clear_leftovers
from capsbench.records import BenchmarkFolder, CellFolder


def clear_benchmark(folder: BenchmarkFolder) -> None:
    """Clear the folder of a benchmark and its page; files of live processes stay."""
    for place in (folder.path, folder.report, folder.report / "figures"):
        clear_leftovers(place)


def clear_cell(folder: CellFolder) -> None:
    """Clear the folder of a cell; files of live processes stay.

    With the record of a finished training, its resumable state goes too, as does the record of an
    earlier training that was set aside.
    """
    for place in (folder.path, folder.path / "checkpoints", folder.path / "measures"):
        clear_leftovers(place)
    left = [path for path in (folder.state, folder.replaced) if is_present(path)]
    if not left or not is_present(folder.training):
        return
    held = try_lease(folder.lease, "clear leftovers")
    if held is None:  # it is trained just now
        return
    with held:
        if is_present(folder.training):
            for path in left:
                remove(path)
