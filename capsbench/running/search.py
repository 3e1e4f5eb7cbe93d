"""The search for recipes: every model gets the same trials, and is judged on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from capsbench.errors import UserError
from capsbench.records import CellFolder
from capsbench.reporting.results import SearchRecord, Trial, read_training
from capsbench.running.plan import Cell, plan, wanted
from capsbench.running.worker import process_rank, train_cell, train_cell_in_processes
from capsbench.schema import Benchmark, ModelEntry
from capsbench.training.devices import resolve_device
from capsbench.training.execution import Execution


def search(
    benchmark: Benchmark,
    *,
    models: Sequence[str] | None,
    output: Path,
    execution: Execution,
    data_root: Path | None,
    console: Console,
) -> tuple[Benchmark, SearchRecord]:
    """Train every model with every recipe of the grid, and give each its best.

    A trial is a whole training with the first seed of the protocol, kept like any other, so that
    the chosen one is the cell of that seed. Best is the highest validation accuracy at the step
    that the protocol's rule selects; of equals the first in the grid. A trial that diverges is
    never chosen.

    Args:
        benchmark: The protocol.
        models: Labels or names of the models that are wanted; all if left out.
        output: The runs folder.
        execution: How to carry the trials out.
        data_root: Folder of data files at hand.
        console: Where progress is shown.

    Returns:
        The protocol in which each model has its recipe, and the trials.

    Raises:
        UserError: The benchmark varies something, or all trials of a model diverged.
    """
    execution = execution.model_copy(update={"device": resolve_device(execution.device)})
    trials: list[Trial] = []
    chosen: dict[str, ModelEntry] = {}
    for entry, cells in planned_trials(benchmark, models, data_root):
        mine = [
            _trial(cell, values, benchmark.name, output, execution, data_root, console)
            for values, cell in zip(benchmark.trials, cells, strict=True)
        ]
        best = max(mine, key=lambda trial: -1.0 if trial.accuracy is None else trial.accuracy)
        if best.accuracy is None:
            raise UserError(f"all {len(mine)} trials of {entry.label} diverged; change search")
        chosen[entry.label] = _entry(entry, best.recipe, len(mine))
        trials += [trial._replace(chosen=trial is best) for trial in mine]
    entries = tuple(chosen.get(entry.label, entry) for entry in benchmark.models)
    found = Benchmark.model_validate(benchmark.model_dump() | {"models": entries})
    return found, SearchRecord(benchmark.seeds[0], tuple(trials))


def planned_trials(
    benchmark: Benchmark, models: Sequence[str] | None, data_root: Path | None
) -> list[tuple[ModelEntry, list[Cell]]]:
    """Of each model that is wanted the cells of its trials, in the order of the grid.

    Raises:
        UserError: The benchmark varies something.
    """
    if benchmark.vary is not None:
        raise UserError(
            f"{benchmark.name} varies {benchmark.vary.place}: --search is for benchmarks that vary "
            "nothing; name one value by --set vary=null and --set"
        )
    found = []
    for entry in wanted(benchmark.models, models):
        tried = [_with_recipe(benchmark, entry, values) for values in benchmark.trials]
        found.append((entry, [cell for one in tried for cell in plan(one, data_root=data_root)]))
    return found


def _with_recipe(benchmark: Benchmark, entry: ModelEntry, values: dict[str, float]) -> Benchmark:
    model = _entry(entry, values, len(benchmark.trials))
    changes = {"models": (model,), "seeds": benchmark.seeds[:1], "matched": None, "published": ()}
    plain = [measure for measure in benchmark.measures if not measure.needs]
    return benchmark.model_copy(update={**changes, "measures": tuple(plain)})


def _entry(entry: ModelEntry, values: dict[str, float], count: int) -> ModelEntry:
    reason = f"the best of {count} trials on validation images"
    return entry.model_copy(update={"recipe": entry.recipe | values, "reason": reason})


def _trial(
    cell: Cell,
    values: dict[str, float],
    benchmark: str,
    output: Path,
    execution: Execution,
    data_root: Path | None,
    console: Console,
) -> Trial:
    folder = CellFolder(output / cell.path)
    if not folder.training.is_file():
        if execution.processes > 1:
            train_cell_in_processes(cell, benchmark, output, execution, data_root)
        else:
            train_cell(cell, output, execution, data_root=data_root, loggers=[], console=console)
    training = read_training(folder)
    selected = training.selected.get(cell.rule)
    diverged = training.status == "diverged" or selected is None
    accuracy = None if diverged or selected is None else selected.accuracy
    if execution.processes == 1 or process_rank() == 0:
        _tell(console, cell, values, accuracy)
    return Trial(cell.label, values, cell.path.as_posix(), accuracy, training.seconds)


def _tell(console: Console, cell: Cell, values: dict[str, float], accuracy: float | None) -> None:
    told = ", ".join(f"{name} {value:g}" for name, value in values.items())
    outcome = "diverged" if accuracy is None else f"validation accuracy {accuracy:.3f}"
    console.print(f"{cell.label}, {told}: {outcome}", markup=False, highlight=False)
