"""The report: page, Markdown, CSV and figures, made from a benchmark's records and nothing else."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from capsbench.errors import UserError
from capsbench.records import clear_unfinished_writes, write_bytes
from capsbench.reporting import differences, figures, markdown, page, tables
from capsbench.reporting.measure_figures import measure_figures
from capsbench.reporting.results import Results, load


def benchmarks_in(path: Path) -> list[Path]:
    """The benchmarks' folders at a path.

    Args:
        path: A runs folder, or the folder of one benchmark in it.

    Raises:
        UserError: There is none.
    """
    if (path / "benchmark.json").is_file():
        return [path]
    found = sorted(record.parent for record in path.glob("*/benchmark.json"))
    if not found:
        what = "holds no benchmark's records" if path.is_dir() else "is not a folder"
        raise UserError(f"{path} {what}; 'capsbench run quick' makes some under runs/")
    return found


def build(folder: Path) -> Path:
    """Build ``folder/report/`` from the records; the same records give the same bytes.

    Args:
        folder: ``runs/<benchmark>``.

    Returns:
        The path of ``index.html``.

    Raises:
        UserError: There is no record, or one is damaged.
    """
    results = load(folder)
    report = folder / "report"
    clear_unfinished_writes(report)
    measured = measure_figures(results)
    compared = differences.differences(results)
    drawn = draw(results) | {name: each.figure for name, each in measured.items()}
    vectors = {name: figures.svg(figure) for name, figure in drawn.items()}
    for name, figure in drawn.items():
        write_bytes(report / "figures" / f"{name}.svg", vectors[name])
        write_bytes(report / "figures" / f"{name}.png", figures.png(figure))
    for old in (report / "figures").glob("*.[sp][vn]g"):
        if old.stem not in drawn:  # of a factor or model that is no longer in the protocol
            old.unlink()
    write_bytes(report / "results.csv", tables.csv_text(results).encode())
    write_bytes(report / "differences.csv", differences.csv_text(compared).encode())
    write_bytes(report / "report.md", markdown.render(results, measured, compared).encode())
    index = report / "index.html"
    write_bytes(index, page.render(results, vectors, measured, compared).encode())
    return index


def draw(results: Results) -> dict[str, Figure]:
    """Accuracy and training by file's name: all factors, each alone, each model's training."""
    drawn = {"accuracy-by-view": figures.accuracy_by_view(results)}
    for factor in results.factors():
        drawn[f"accuracy-{factor}"] = figures.accuracy_by_view(results, [factor])
    groups = [] if results.benchmark.vary else results.by_label().values()
    for index, cells in enumerate(groups):
        drawn[f"training-{index}"] = figures.training_curves(cells, index)
    return {name: figure for name, figure in drawn.items() if figure is not None}
