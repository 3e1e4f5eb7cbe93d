"""Selection rules: pure functions from a trajectory to a step.

``validation`` and ``last`` select the weights that are saved and measured. ``matched`` uses test
labels: it selects no weights, only the row of the trajectory that is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Row = dict[str, float]
Rule = Callable[[Sequence[Row]], int]


def validation(trajectory: Sequence[Row]) -> int:
    """Return the step with the highest validation accuracy.

    Ties are broken by the lower validation loss, then by the earlier step.

    >>> row = lambda step, accuracy, loss: {
    ...     "step": step, "validation_accuracy": accuracy, "validation_loss": loss}
    >>> validation([row(10, 0.8, 0.5), row(20, 0.9, 0.5), row(30, 0.9, 0.4), row(40, 0.9, 0.4)])
    30
    """
    best = max(trajectory, key=lambda r: (r["validation_accuracy"], -r["validation_loss"]))
    return int(best["step"])


def last(trajectory: Sequence[Row]) -> int:
    """Return the last step of the trajectory."""
    return int(trajectory[-1]["step"])


def matched(trajectory: Sequence[Row], split: str, target: float) -> int | None:
    """Return the first step at which the accuracy on a test split reaches a target, else None.

    This rule uses test labels. Sabour et al. (2017), section 5.2, and Hinton et al. (2018), section
    5.1, compare models at such steps.

    >>> row = lambda step, accuracy: {"step": step, "familiar_accuracy": accuracy}
    >>> matched([row(10, 0.8), row(20, 0.93), row(30, 0.91)], "familiar", 0.9)
    20
    >>> matched([row(10, 0.8)], "familiar", 0.9) is None
    True
    """
    steps = (row["step"] for row in trajectory if row[accuracy_column(split)] >= target)
    step = next(steps, None)
    return None if step is None else int(step)


def at_step(trajectory: Sequence[Row], step: int) -> Row:
    """Return the row of a step of the trajectory."""
    return next(row for row in trajectory if row["step"] == step)


def accuracy_column(split: str) -> str:
    """Return the trajectory's column of the accuracy on a split.

    >>> accuracy_column("novel")
    'novel_accuracy'
    """
    return f"{split}_accuracy"


RULES: dict[str, Rule] = {"validation": validation, "last": last}
