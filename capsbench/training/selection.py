"""Selection rules: which step stands for a training; pure functions of its trajectory.

``validation`` and ``last`` choose the weights that are kept and measured. ``matched`` looks at test
labels: it chooses no weights, only the row of the trajectory that is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Row = dict[str, float]
Rule = Callable[[Sequence[Row]], int]


def validation(trajectory: Sequence[Row]) -> int:
    """The step with the best validation accuracy; of equals the lowest loss, then the first.

    >>> row = lambda step, accuracy, loss: {
    ...     "step": step, "validation_accuracy": accuracy, "validation_loss": loss}
    >>> validation([row(10, 0.8, 0.5), row(20, 0.9, 0.5), row(30, 0.9, 0.4), row(40, 0.9, 0.4)])
    30
    """
    best = max(trajectory, key=lambda r: (r["validation_accuracy"], -r["validation_loss"]))
    return int(best["step"])


def last(trajectory: Sequence[Row]) -> int:
    """The last step that was looked at."""
    return int(trajectory[-1]["step"])


def matched(trajectory: Sequence[Row], split: str, target: float) -> int | None:
    """The first step at which the accuracy on a test split reaches a target; None if it never does.

    It sees test labels. Sabour et al. (2017), section 5.2, and Hinton et al. (2018), section 5.1,
    compare models at such steps.

    >>> row = lambda step, accuracy: {"step": step, "familiar_accuracy": accuracy}
    >>> matched([row(10, 0.8), row(20, 0.93), row(30, 0.91)], "familiar", 0.9)
    20
    >>> matched([row(10, 0.8)], "familiar", 0.9) is None
    True
    """
    reached = (row["step"] for row in trajectory if row[followed(split)] >= target)
    step = next(reached, None)
    return None if step is None else int(step)


def at_step(trajectory: Sequence[Row], step: int) -> Row:
    """The row of a step that was looked at."""
    return next(row for row in trajectory if row["step"] == step)


def followed(split: str) -> str:
    """The trajectory's column of the accuracy on a test split.

    >>> followed("novel")
    'novel_accuracy'
    """
    return f"{split}_accuracy"


RULES: dict[str, Rule] = {"validation": validation, "last": last}
