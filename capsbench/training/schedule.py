"""Learning-rate schedules as functions of the step (no torch)."""

from __future__ import annotations

import math

from capsbench.training.recipe import Recipe


def learning_rate_factor(recipe: Recipe, step: int, steps: float) -> float:
    """Return the learning rate of a step as a share of the initial one.

    Args:
        recipe: Recipe with ``schedule`` and ``final_learning_rate``, the share at the last step.
        step: Number of completed steps.
        steps: Number of steps of the training; infinite only for a constant schedule.

    >>> recipe = Recipe(schedule="exponential", final_learning_rate=0.01)
    >>> [round(learning_rate_factor(recipe, step, 100), 6) for step in (0, 50, 100)]
    [1.0, 0.1, 0.01]
    """
    share, final = min(1.0, step / steps), recipe.final_learning_rate
    match recipe.schedule:
        case "constant":
            return 1.0
        case "exponential":
            return float(final**share)
        case "cosine":
            return final + (1 - final) * (1 + math.cos(math.pi * share)) / 2
