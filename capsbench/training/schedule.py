"""Learning-rate schedules as functions of the step (no torch)."""

from __future__ import annotations

import math

from capsbench.training.recipe import Recipe


def learning_rate_factor(recipe: Recipe, step: int, steps: float) -> float:
    """Return the learning rate of a step as a share of the initial one.

    Args:
        recipe: Recipe with ``schedule``, ``final_learning_rate``, the share at the last step, and
            ``warmup``, the share of the steps that come before it, with a rising rate.
        step: Number of completed steps.
        steps: Number of steps of the training; infinite only for a constant schedule without a
            warm-up.

    >>> recipe = Recipe(schedule="exponential", final_learning_rate=0.01)
    >>> [round(learning_rate_factor(recipe, step, 100), 6) for step in (0, 50, 100)]
    [1.0, 0.1, 0.01]
    >>> recipe = Recipe(schedule="constant", warmup=0.04)
    >>> [learning_rate_factor(recipe, step, 100) for step in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    warmup = recipe.warmup * steps if recipe.warmup else 0.0
    if step < warmup:
        return min(1.0, (step + 1) / warmup)
    share, final = min(1.0, (step - warmup) / (steps - warmup)), recipe.final_learning_rate
    match recipe.schedule:
        case "constant":
            return 1.0
        case "exponential":
            return float(final**share)
        case "cosine":
            return final + (1 - final) * (1 + math.cos(math.pi * share)) / 2
