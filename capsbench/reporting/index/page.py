"""The page of a runs folder: leaderboard, benchmarks, models and the history of runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from capsbench.files.atomic import write_bytes
from capsbench.files.lease import lease
from capsbench.records import BenchmarkFolder, benchmarks_in
from capsbench.reporting.formatting import percent, share
from capsbench.reporting.index.summary import NAME, Accuracy, Summary
from capsbench.reporting.tables import render_html
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)

PAGE = "index.html"
LEASE = ".index"  # of the page, in the runs folder


def build_index(runs: Path) -> Path:
    """Build the page of a runs folder from the summaries beside the pages of its benchmarks.

    Args:
        runs: The runs folder.

    Returns:
        Path of the page.
    """
    with lease(runs / LEASE, "build the page of all benchmarks"):
        summaries = {name: each for name in benchmarks_in(runs) if (each := _read(runs / name))}
        content = render_index(summaries).encode()
        if not (runs / PAGE).is_file() or (runs / PAGE).read_bytes() != content:
            write_bytes(runs / PAGE, content)
    return runs / PAGE


def _read(folder: Path) -> Summary | None:
    """Return the summary beside the page of a benchmark; None if it has no page of this version."""
    try:
        content = (BenchmarkFolder(folder).report / NAME).read_bytes()
        return Summary.model_validate_json(content)
    except (FileNotFoundError, ValidationError):
        return None


def render_index(summaries: Mapping[str, Summary]) -> str:
    """Return the page as HTML.

    Args:
        summaries: Summary of each benchmark, by the name of its folder.
    """
    accuracies = [each for summary in summaries.values() for each in summary.accuracies]
    return render_html.render(
        "runs.html.jinja",
        summaries=summaries,
        pages={name: f"{quote(name)}/report/index.html" for name in summaries},
        leaderboard=leaderboard(summaries),
        families=sorted({each.family for each in accuracies if each.family}),
        models=model_tables(summaries),
        history=history(summaries),
    )


def leaderboard(summaries: Mapping[str, Summary]) -> Table:
    """Return one row per model and one column per benchmark, with its last accuracy.

    Models are one row if label and network are the same; their parameters can differ with the
    number of classes and the size of images.
    """
    benchmarks = {name: each for name, each in summaries.items() if each.accuracies}
    headlines = {name: each.accuracies[-1].name for name, each in benchmarks.items()}
    rows: dict[tuple[str, str], dict[str, Accuracy]] = {}
    for name, summary in benchmarks.items():
        for each in summary.accuracies:
            if each.name == headlines[name]:
                rows.setdefault((each.label, each.network), {})[name] = each
    return Table(
        name="leaderboard",
        title="Leaderboard",
        columns=(
            *text_columns("Model", "Network", "Family"),
            *number_columns("Parameters", *(f"{n}: {headlines[n]}" for n in benchmarks)),
        ),
        rows=tuple(
            _leader(label, network, by_benchmark, benchmarks)
            for (label, network), by_benchmark in rows.items()
        ),
        caption=(
            "Mean accuracy over seeds, with its 95 % interval from three seeds, on the last "
            "accuracy of each benchmark: on novel views, or on its last split if there are none. "
            "Columns are different tasks and scales: only numbers of one column can be compared."
        ),
    )


def _leader(
    label: str,
    network: str,
    by_benchmark: Mapping[str, Accuracy],
    benchmarks: Mapping[str, Summary],
) -> TableRow:
    sizes = sorted(
        {each.parameters for each in by_benchmark.values() if each.parameters is not None}
    )
    text = " to ".join(f"{size:,}" for size in (sizes if len(sizes) < 2 else (sizes[0], sizes[-1])))
    parameters = TableCell(text, number=sizes[-1]) if sizes else None
    family = next(iter(by_benchmark.values())).family
    cells = [
        _accuracy_cell(by_benchmark[name]) if name in by_benchmark else None for name in benchmarks
    ]
    return TableRow((label, network, family, parameters, *cells))


def _accuracy_cell(each: Accuracy) -> TableCell:
    limits = each.interval
    return TableCell(
        percent(each.mean),
        interval=f"{share(limits[0])} to {share(limits[1])}" if limits else "",
        number=each.mean,
    )


def model_tables(summaries: Mapping[str, Summary]) -> list[Table]:
    """Return a table for each network: all of its accuracies, in all benchmarks."""
    networks: dict[str, list[tuple[str, Accuracy]]] = {}
    for name, summary in summaries.items():
        for each in summary.accuracies:
            networks.setdefault(each.network, []).append((name, each))
    return [
        Table(
            name=f"model-{index}",
            title=network,
            columns=(
                *text_columns("Label", "Benchmark", "Accuracy on"),
                *number_columns("Accuracy", "Parameters", "Seeds"),
            ),
            rows=tuple(_result(name, each) for name, each in results),
        )
        for index, (network, results) in enumerate(sorted(networks.items()))
    ]


def _result(benchmark: str, each: Accuracy) -> TableRow:
    parameters = None if each.parameters is None else f"{each.parameters:,}"
    seeds = str(each.seeds) if each.seeds else None
    return TableRow((each.label, benchmark, each.name, _accuracy_cell(each), parameters, seeds))


def history(summaries: Mapping[str, Summary]) -> Table:
    """Return what was trained when, newest first."""
    rows = [(name, work) for name, summary in summaries.items() for work in summary.history]
    rows.sort(key=lambda row: row[1].date, reverse=True)
    return Table(
        name="history",
        title="History of trainings",
        columns=(
            *text_columns("Date", "Benchmark", "Commit", "Device"),
            *number_columns("Trainings"),
        ),
        rows=tuple(
            TableRow((work.date, name, work.commit[:12], work.device, str(work.trainings)))
            for name, work in rows
        ),
        caption=(
            "Trainings that the benchmarks list now, by the day and the commit of their records. "
            "One that several benchmarks share is counted with each."
        ),
    )
