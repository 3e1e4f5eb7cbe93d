"""Summary of a benchmark beside its page, from which the page of a runs folder is made.

So that page reads one small file for each benchmark, and no records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from capsbench.records import CellResult, ClaimsRecord, Results
from capsbench.reporting.comparisons.aggregate import SeedValues, aggregate_seeds
from capsbench.reporting.comparisons.answers import answers
from capsbench.reporting.comparisons.differences import ModelDifference
from capsbench.reporting.comparisons.scaling import accuracies
from capsbench.reporting.formatting import listed
from capsbench.reporting.networks import family
from capsbench.reporting.tables.split_table import heading

NAME = "summary.json"  # of the file in the folder of a report


class Part(BaseModel):
    """Base of the parts of a summary."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Accuracy(Part):
    """An accuracy of a model over seeds.

    Attributes:
        label: Title of the model.
        network: Name of the model.
        family: Family of the network; empty for a user's own network.
        parameters: Number of parameters; None if unknown.
        name: Name of the accuracy.
        mean: Mean over seeds.
        interval: 95 % interval of the mean; None if undefined.
        seeds: Number of seeds; 0 for a model that was trained elsewhere.
    """

    label: str
    network: str
    family: str
    parameters: int | None
    name: str
    mean: float
    interval: tuple[float, float] | None
    seeds: int


class Work(Part):
    """Trainings of one day, commit and device."""

    date: str
    commit: str
    device: str
    trainings: int


class Summary(Part):
    """Facts about a benchmark or claims for the page of a runs folder.

    Attributes:
        title: Title.
        question: Question.
        changed: Sentence on what differs from the shipped protocol; empty if nothing does.
        command: The command that was run last.
        date: Its date.
        answers: The answer in sentences.
        accuracies: Accuracies of the models; the last name is the headline.
        history: What was trained when.
    """

    title: str
    question: str
    changed: str
    command: str
    date: str
    answers: tuple[str, ...]
    accuracies: tuple[Accuracy, ...] = ()
    history: tuple[Work, ...] = ()


def benchmark_summary(results: Results, differences: Sequence[ModelDifference]) -> Summary:
    """Return the summary of a benchmark.

    Args:
        results: The records.
        differences: The differences between models.
    """
    record = results.record
    return Summary(
        title=results.benchmark.title,
        question=results.benchmark.question,
        changed=f"Changed: {listed(record.change_texts)}." if record.change_texts else "",
        command=record.command,
        date=record.provenance.date,
        answers=tuple(answers(results, differences)),
        accuracies=tuple(_accuracies(results)),
        history=tuple(_history(results.cells)),
    )


def claims_summary(record: ClaimsRecord, answers: Sequence[str]) -> Summary:
    """Return the summary of claims.

    Args:
        record: The record of the claims.
        answers: The answers in sentences.
    """
    return Summary(
        title=record.claims.title,
        question=record.claims.question,
        changed="" if record.scale is None else f"At the scale {record.scale}.",
        command=record.command,
        date=record.provenance.date,
        answers=tuple(answers),
    )


def _accuracies(results: Results) -> Iterator[Accuracy]:
    for measure, quantity in accuracies(results.cells):
        for title, cells in results.by_label().items():
            values = aggregate_seeds(cells, measure, quantity)
            if values is not None:
                yield _accuracy(title, cells, heading(quantity), values)


def _accuracy(title: str, cells: Sequence[CellResult], name: str, values: SeedValues) -> Accuracy:
    network = cells[0].reference.model
    return Accuracy(
        label=title,
        network=network,
        family=family(network),
        parameters=next((c.parameters for c in cells if c.parameters is not None), None),
        name=name,
        mean=values.mean,
        interval=values.interval,
        seeds=0 if None in values.values else values.n,
    )


def _history(cells: Sequence[CellResult]) -> list[Work]:
    """Return how many trainings were done on each day, newest first."""
    trainings = [cell.training for cell in cells if cell.training]
    counts = Counter(
        (
            each.provenance.date[:10],
            each.provenance.commit or "unknown",
            each.execution.device_name,
        )
        for each in trainings
    )
    rows = [Work(date=d, commit=c, device=v, trainings=n) for (d, c, v), n in counts.items()]
    return sorted(rows, key=lambda work: (work.date, work.commit, work.device), reverse=True)
