"""Selection rules: which step's weights stand for a training; pure functions of its trajectory."""

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


RULES: dict[str, Rule] = {"validation": validation, "last": last}
