"""Two folders of made-up runs whose accuracies by view have an outcome for each image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from capsbench.measures import index_name
from capsbench.measures.accuracy_by_view import (
    AccuracyByViewConfig,
    summarize,
    summary_weights,
)
from capsbench.viewpoint.ranges import ViewRange

IMAGES = 80
MODELS = (("CNN", "cnn-small"), ("EM routing", "capsnet-em"))
CONFIG = {
    "measure": "accuracy-by-view",
    "grid": {
        "rotation": {"start": -30, "stop": 30, "step": 15},
        "shift_x": {"start": 0, "stop": 4, "step": 2},
    },
}
VIEWS = AccuracyByViewConfig.model_validate(CONFIG).grid.views()
RANGES = ViewRange.model_validate({"rotation": (-15, 15), "shift": (-2, 2)})


def is_correct(label: str, seed: int, rate: float) -> np.ndarray:
    """Return (V, N) bool, which differs between models, seeds and rates."""
    source = [len(label), seed, round(1000 * rate)]
    return np.random.default_rng(source).random((len(VIEWS), IMAGES)) < rate


def write_run(
    runs: Path,
    write_benchmark,
    add_measure,
    rates,
    *,
    seeds=(0, 1, 2),
    models=MODELS,
    config=CONFIG,
    first_image=0,
    unseen=(),
) -> Path:
    """Write a benchmark whose models are right with given rates.

    Args:
        rates: Rate of correct images of each model.
        config: Configuration of the measure in the records.
        first_image: Number of the first test image in its source.
        unseen: Views at which the first image was not recorded.
    """
    folder: Path = write_benchmark(runs, seeds=seeds, models=models)
    for label, _ in models:
        for seed in seeds:
            correct = is_correct(label, seed, rates[label])
            evaluated = np.ones_like(correct)
            evaluated[list(unseen), 0] = False
            correct &= evaluated
            per_image = {
                "correct": correct,
                "evaluated": evaluated,
                index_name(): np.arange(IMAGES) + first_image,
            }
            accuracies = correct.sum(axis=1) / evaluated.sum(axis=1)
            values = summarize(VIEWS, accuracies, evaluated, RANGES)
            if evaluated.all():
                per_image |= {
                    quantity.name: weights @ correct
                    for quantity, weights in summary_weights(VIEWS, RANGES).items()
                    if quantity.factor is None
                }
            add_measure(folder, label, seed, config, values, per_image=per_image)
    return folder
