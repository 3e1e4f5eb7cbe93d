"""Simulated outcomes of models whose seeds and images differ, with known accuracies."""

import numpy as np
from scipy.stats import norm

EASE, SHARED, OWN = 1.5, 1.0, 0.5  # of the images: mean, and deviations over images


def draw_outcomes(generator, shape, *, spread, shift=0.0, models=2):
    """Draw outcomes (R, S, N) of models, right or wrong by a probit with shared difficulties.

    Args:
        generator: Generator of the draws.
        shape: R, S and N, the numbers of repetitions, seeds and images.
        spread: Deviation of the seeds, in units of the probit.
        shift: Added to the first model.
        models: Number of models.
    """
    repetitions, seeds, images = shape
    difficulty = generator.standard_normal((repetitions, 1, images)) * SHARED
    tables = []
    for model in range(models):
        by_image = EASE + (shift if model == 0 else 0.0) + difficulty
        by_image = by_image + OWN * generator.standard_normal((repetitions, 1, images))
        by_seed = spread * generator.standard_normal((repetitions, seeds, 1))
        noise = generator.standard_normal(shape, dtype=np.float32)
        tables.append((by_image + by_seed + noise > 0).astype(float))
    return tables


def accuracy(*, spread, shift=0.0):
    """Return the accuracy over all seeds and images."""
    return norm.cdf((EASE + shift) / np.sqrt(1 + spread**2 + SHARED**2 + OWN**2))


def seed_deviation(spread):
    """Return the deviation of the accuracies of seeds over all images."""
    draws = np.random.default_rng(0).standard_normal(200_000)
    return norm.cdf((EASE + spread * draws) / np.sqrt(1 + SHARED**2 + OWN**2)).std()


def shift_of(difference, *, spread):
    """Return the shift of the first model that makes the accuracies differ by ``difference``."""
    second = accuracy(spread=spread)
    total = np.sqrt(1 + spread**2 + SHARED**2 + OWN**2)
    return norm.ppf(second + difference) * total - EASE
