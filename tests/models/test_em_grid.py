"""The grid of matrix capsules in docs/em_grid.yaml: its sizes, and two of its points trained."""

from pathlib import Path

import pytest

from capsbench.running.plan import plan
from capsbench.schema import benchmark_names, load_benchmark
from capsbench.training.devices import use_threads
from capsbench.training.execution import Execution
from capsbench.training.train import train

GRID = Path(__file__).resolve().parents[2] / "docs" / "em_grid.yaml"
OURS = ("capsnet-em", "capsnet-em-small")
LEAST = 0.83  # validation accuracy: 85 % of the best on the digits, 0.97


def validation_accuracy(label, case, state):
    """Train seed 0 of a point of the grid; return its last accuracy on validation images."""
    cells = plan(load_benchmark(str(GRID)), models=[label])
    cell = next(cell for cell in cells if (cell.case, cell.seed) == (case, 0))
    with use_threads(cell.config.threads):
        result = train(
            cell.build_model,
            cell.build_data(None),
            cell.recipe,
            Execution(device="cpu", wandb="off"),
            seed=cell.seed,
            state=state,
            loggers=[],
            on_step=lambda step: None,
            on_rows=lambda rows: None,
        )
    return result.rows[-1]["validation_accuracy"]


def sizes(benchmark):
    """Return model, types and strides of the matrix capsules of a protocol."""
    names = ("primary_types", "types", "strides")
    return {
        (entry.name, *(str(entry.arguments.get(name)) for name in names))
        for entry in benchmark.models
        if entry.name in OURS
    }


def test_the_grid_has_the_sizes_of_all_protocols():
    shipped = set()
    for name in benchmark_names():  # without the files of claims, whose parts have the same sizes
        benchmark = load_benchmark(name)
        for each in (benchmark, *(load_benchmark(name, scale=s) for s in benchmark.scales)):
            shipped |= sizes(each)
    assert shipped
    assert shipped <= sizes(load_benchmark(str(GRID)))


@pytest.mark.slow
def test_one_iteration_learns(tmp_path):
    label = "4 types x 1 iteration"
    assert validation_accuracy(label, "digits at 1e-2", tmp_path / "state") > LEAST


@pytest.mark.slow
def test_three_iterations_learn_at_the_smallest_rate(tmp_path):
    label = "two layers x 3 iterations"
    assert validation_accuracy(label, "digits at 1e-3", tmp_path / "state") > LEAST
