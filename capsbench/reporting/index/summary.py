"""Summary of a benchmark beside its page, from which the page of a runs folder is made.

So that page reads one small file for each benchmark, and no records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from capsbench.records import BenchmarkRecord, CellResult, ClaimsRecord, Results
from capsbench.records.benchmark import FULL
from capsbench.reporting.comparisons.aggregate import SeedValues, aggregate_seeds
from capsbench.reporting.comparisons.answers import answers
from capsbench.reporting.comparisons.chance import chance_text
from capsbench.reporting.comparisons.differences import ModelDifference
from capsbench.reporting.comparisons.scaling import accuracies
from capsbench.reporting.formatting import listed
from capsbench.reporting.index.work import Work, work_of
from capsbench.reporting.networks import family
from capsbench.reporting.tables.split_table import heading
from capsbench.schema.parts import point_text

NAME = "summary.json"  # of the file in the folder of a report


class Part(BaseModel):
    """Base of the parts of a summary."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Accuracy(Part):
    """An accuracy of a model over seeds.

    Attributes:
        label: Label of the model; of one that was trained elsewhere with a remark.
        network: Name of the model.
        family: Family of the network; empty for a user's own network.
        parameters: Number of parameters; None if unknown.
        flops: Operations of one image; None if unknown.
        name: Name of the accuracy.
        case: Value or case of what the benchmark varies, with its name; empty if it varies nothing.
        mean: Mean over seeds.
        interval: 95 % interval of the mean; None if undefined.
        seeds: Number of seeds; 0 for a model that was trained elsewhere.
        note: Seeds at chance in words; empty if there are none.
    """

    label: str
    network: str
    family: str
    parameters: int | None
    flops: int | None
    name: str
    case: str
    mean: float
    interval: tuple[float, float] | None
    seeds: int
    note: str


class Summary(Part):
    """Facts about a benchmark or claims for the page of a runs folder.

    Attributes:
        title: Title.
        question: Question.
        size: ``full``, the name of a scale or of claims that it is a part of, or ``changed``.
        changed: Sentences on what differs from the shipped protocol; empty if nothing does.
        command: The command that was run last.
        date: Its date.
        answers: The answer in sentences.
        accuracies: Accuracies of the models, case by case; name and case of the last one are those
            of the leaderboard.
        history: What was trained and measured when.
    """

    title: str
    question: str
    size: str
    changed: str
    command: str
    date: str
    answers: tuple[str, ...]
    accuracies: tuple[Accuracy, ...] = ()
    history: tuple[Work, ...] = ()

    @property
    def is_full(self) -> bool:
        """True for the protocol of the benchmark's file at full size."""
        return self.size == FULL


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
        size=record.changes.claims or record.size,
        changed=_changed(record),
        command=record.command,
        date=record.provenance.date,
        answers=tuple(answers(results, differences)),
        accuracies=tuple(_accuracies(results)),
        history=tuple(work_of(results)),
    )


def _changed(record: BenchmarkRecord) -> str:
    if not record.change_texts:
        return ""
    return f"{record.change_title} Changed: {listed(record.change_texts)}."


def claims_summary(record: ClaimsRecord, answers: Sequence[str]) -> Summary:
    """Return the summary of claims.

    Work and accuracies are in the summaries of their benchmarks.

    Args:
        record: The record of the claims.
        answers: The answers in sentences.
    """
    scale = record.scale
    return Summary(
        title=record.claims.title,
        question=record.claims.question,
        size=scale or FULL,
        changed="" if scale is None else f"At the scale '{scale}', not at full size.",
        command=record.command,
        date=record.provenance.date,
        answers=tuple(answers),
    )


def _accuracies(results: Results) -> Iterator[Accuracy]:
    vary = results.benchmark.vary
    cases: dict[float | None, str] = {None: ""}
    if vary is not None:
        cases = {vary.position(at): f"{vary.name}: {point_text(at)}" for at in vary.points}
    for measure, quantity in accuracies(results.cells):
        for at, case in cases.items():
            for cells in results.by_label(at).values():
                values = aggregate_seeds(cells, measure, quantity)
                if values is not None:
                    yield _accuracy(cells, heading(quantity), case, values)


def _accuracy(cells: Sequence[CellResult], name: str, case: str, values: SeedValues) -> Accuracy:
    first = cells[0]
    return Accuracy(
        label=first.title if first.trained_elsewhere else first.label,
        network=first.reference.model,
        family=family(first.reference.model),
        parameters=next((c.parameters for c in cells if c.parameters is not None), None),
        flops=next((c.flops for c in cells if c.flops is not None), None),
        name=name,
        case=case,
        mean=values.mean,
        interval=values.interval,
        seeds=0 if None in values.values else values.n,
        note=chance_text(values.at_chance),
    )
