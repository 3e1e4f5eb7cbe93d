"""Models of a runs folder: the leaderboard, and a section for each with all of its accuracies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from capsbench.reporting.formatting import count_range, percent, share
from capsbench.reporting.index.summary import Accuracy, Summary
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableColumn,
    TableRow,
    number_columns,
    text_columns,
)

Summaries = Mapping[str, Summary]  # by the name of the benchmark's folder


@dataclass(frozen=True)
class Model:
    """A model of a runs folder: one label and network, in all benchmarks.

    Its size can differ with the number of classes, the size of images, and what a benchmark varies.

    Attributes:
        anchor: Anchor of its section on the page.
        label: Label.
        network: Name of the network.
        results: Each of its accuracies, with the name of the benchmark.
    """

    anchor: str
    label: str
    network: str
    results: tuple[tuple[str, Accuracy], ...]

    @property
    def family(self) -> str:
        """Family of the network; empty for a user's own network."""
        return self.results[0][1].family

    @property
    def parameters(self) -> TableCell | None:
        """Numbers of parameters, sorted by the largest; None if unknown."""
        sizes = _known(each.parameters for _, each in self.results)
        return TableCell(count_range(sizes), number=max(sizes)) if sizes else None

    @property
    def facts(self) -> dict[str, str]:
        """Facts about the network, by their names."""
        flops = _known(each.flops for _, each in self.results)
        facts = {
            "Network": self.network,
            "Family": self.family,
            "Parameters": self.parameters.text if self.parameters else "",
            "Operations of one image (FLOPs)": count_range(flops) if flops else "",
        }
        return {name: text for name, text in facts.items() if text}

    @property
    def command(self) -> str:
        """Command that shows the network; empty for a user's own network."""
        return f"capsbench show {self.network}" if self.family else ""

    def table(self) -> Table:
        """Return all of its accuracies, in all benchmarks."""
        varied = any(each.case for _, each in self.results)
        return Table(
            name=f"{self.anchor}-table",
            title=self.label,
            columns=(
                *text_columns("Benchmark", "Accuracy on", *(["Case"] if varied else [])),
                *number_columns("Accuracy", "Seeds", "Parameters", "Operations"),
            ),
            rows=tuple(_result(name, each, varied=varied) for name, each in self.results),
        )


def models_of(summaries: Summaries) -> list[Model]:
    """Return the models of all benchmarks, in the order in which they first appear."""
    results: dict[tuple[str, str], list[tuple[str, Accuracy]]] = {}
    for name, summary in summaries.items():
        for each in summary.accuracies:
            results.setdefault((each.label, each.network), []).append((name, each))
    return [
        Model(f"model-{index}", label, network, tuple(own))
        for index, ((label, network), own) in enumerate(results.items())
    ]


def page_of(benchmark: str) -> str:
    """Return the link from the page of the runs folder to that of a benchmark."""
    return f"{quote(benchmark)}/report/index.html"


def leaderboard(summaries: Summaries, models: Sequence[Model]) -> Table:
    """Return one row per model and one column per benchmark that has accuracies.

    The column has the last accuracy of the benchmark, at the last case of what it varies.
    """
    headlines = {
        name: (last.name, last.case)
        for name, summary in summaries.items()
        for last in summary.accuracies[-1:]
    }
    return Table(
        name="leaderboard",
        title="Leaderboard",
        columns=(
            *text_columns("Model", "Family"),
            *number_columns("Parameters"),
            *(
                TableColumn(f"{name} ({case})" if case else name, group=benchmark)
                for benchmark, (name, case) in headlines.items()
            ),
        ),
        rows=tuple(
            TableRow(
                (
                    TableCell(model.label, details=model.network, link=f"#{model.anchor}"),
                    model.family or None,
                    model.parameters,
                    *_headline_cells(model, headlines),
                )
            )
            for model in models
        ),
        caption=(
            "Mean accuracy over seeds, with its 95 % interval from three seeds, on the last "
            "accuracy of each benchmark: on novel views, or on its last split if there are none; "
            "of a benchmark that varies a setting, at the last value or case, named in the "
            "heading. Columns are different tasks and scales: only numbers of one column can be "
            "compared. A mark beside the name of a benchmark says that it was run at a smaller "
            "scale or with changes. Of a model with several sizes, the largest one sorts and is "
            "filtered; a filter by parameters hides models of unknown size."
        ),
    )


def _headline_cells(
    model: Model, headlines: Mapping[str, tuple[str, str]]
) -> list[TableCell | None]:
    cells = {
        name: _accuracy_cell(each)
        for name, each in model.results
        if (each.name, each.case) == headlines[name]
    }
    return [cells.get(name) for name in headlines]


def _accuracy_cell(each: Accuracy) -> TableCell:
    limits = each.interval
    return TableCell(
        percent(each.mean),
        interval=f"{share(limits[0])} to {share(limits[1])}" if limits else "",
        note=each.note,
        number=each.mean,
    )


def _result(benchmark: str, each: Accuracy, *, varied: bool) -> TableRow:
    return TableRow(
        (
            TableCell(benchmark, link=page_of(benchmark)),
            each.name,
            *([each.case or None] if varied else []),
            _accuracy_cell(each),
            str(each.seeds) if each.seeds else None,
            None if each.parameters is None else f"{each.parameters:,}",
            None if each.flops is None else f"{each.flops:,}",
        )
    )


def _known(numbers: Iterable[int | None]) -> set[int]:
    return {number for number in numbers if number is not None}
