"""Summaries of benchmarks, made up."""

from __future__ import annotations

from capsbench.reporting.index.summary import Accuracy, Summary
from capsbench.reporting.index.work import Work


def accuracy(
    label: str,
    network: str,
    name: str,
    mean: float,
    *,
    case: str = "",
    family: str = "convolutions",
    parameters: int | None = 10,
) -> Accuracy:
    return Accuracy(
        label=label,
        network=network,
        family=family,
        parameters=parameters,
        flops=None if parameters is None else 1000 * parameters,
        name=name,
        case=case,
        mean=mean,
        interval=None,
        seeds=2,
        note="",
    )


def summary(
    *accuracies: Accuracy, size: str = "full", changed: str = "", history: tuple[Work, ...] = ()
) -> Summary:
    return Summary(
        title="Title",
        question="Question?",
        size=size,
        changed=changed,
        command="capsbench run quick",
        date="2026-11-30",
        answers=("Yes.",),
        accuracies=accuracies,
        history=history,
    )


def work(
    date: str, *, command: str = "", trainings: int = 0, measures: tuple[str, ...] = ()
) -> Work:
    return Work(
        date=date,
        commit="a" * 40,
        device="two cores",
        command=command,
        trainings=trainings,
        measures=measures,
    )
