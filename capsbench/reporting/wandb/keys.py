"""Names of everything that a run on Weights & Biases shows; ``docs/wandb.md`` lists them.

There, a name can be filtered and sorted only if it matches ``[_a-zA-Z][_a-zA-Z0-9]*``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from capsbench.values import Quantity

STEP = "step"  # x axis of the curves of a training
TRAINING_CURVES = ("epoch", "train_loss", "learning_rate")
VALIDATION_CURVES = ("validation_loss", "validation_accuracy", "zero_gradient")
VIEW = "view_"  # begins the name of the x axis of a factor
CONDITION = "condition_"  # begins the name of the x axis of a condition
LAYER = "layer_number"  # x axis of the layers of a model, from 0
FAMILIAR = "familiar_"  # begins the name of a limit of the familiar views
ARGUMENT = "argument_"  # begins the name of an argument of the model or of the data

TRAINING_CONFIG = (
    "model",
    "family",
    "routing",
    "parameters",
    "flops",
    "seed",
    "data",
    "data_version",
    "image_height",
    "image_width",
    "image_channels",
    "num_classes",
    "per_class",
    "fingerprint",
    "folder",
    "commit",
    "capsbench_version",
)
RECIPE_CONFIG = (
    "optimizer",
    "learning_rate",
    "weight_decay",
    "schedule",
    "final_learning_rate",
    "warmup",
    "steps",
    "batch_size",
    "precision",
    "evaluate_every",
    "limit",
    "augmentation",
)
EVALUATION_CONFIG = ("label", "varied", "rule", "trained_elsewhere", "training_run")
BENCHMARK_CONFIG = ("benchmark", "protocol_version", "scale", "changes", "command")
AGGREGATE_CONFIG = ("question", "data", "models", "seeds", "commit", "capsbench_version")
EVALUATION_SUMMARY = ("status", "diverged_at", "training_seconds", "images_per_second")
EVALUATION_TABLES = ("values", "accuracy_by_view", "confusion", "reconstructions")
AGGREGATE_TABLES = (
    "leaderboard",
    "accuracy_by_view",
    "differences",
    "published",
    "published_differences",
    "example_images",
    "gallery",
)


def quantity_key(measure: str, quantity: Quantity, *, without: Collection[str] = ()) -> str:
    """Return the name of a measured number.

    It has the measure, the metric, then the fields of the quantity; conditions have their names.

    Args:
        measure: Name of the measure.
        quantity: The identity of the number.
        without: Fields and conditions that are left out.

    >>> quantity_key("accuracy-by-view", Quantity(metric="accuracy", split="novel"))
    'accuracy_by_view_accuracy_novel'
    """
    parts: list[Any] = [measure, quantity.metric]
    for name, value in quantity.fields.items():
        if name not in without:
            parts += [name, value] if name in quantity.condition else [value]
    return key("_".join(map(_text, parts)))


def line_key(measure: str, quantity: Quantity, field: str) -> str:
    """Return the name of the line of which a number is a point.

    Args:
        measure: Name of the measure.
        quantity: The identity of the number.
        field: Field or condition along the line.

    >>> view = Quantity(metric="accuracy", split="novel", factor="rotation", view=-105)
    >>> line_key("accuracy-by-view", view, "view")
    'accuracy_by_view_accuracy_rotation_by_view'
    """
    left_out = ("view", "split") if field == "view" else (field,)
    return key(f"{quantity_key(measure, quantity, without=left_out)}_by_{field}")


def key(text: str) -> str:
    """Return a text as a name that can be filtered and sorted.

    >>> key("accuracy-by-view"), key("net.py:Net"), key("3d")
    ('accuracy_by_view', 'net_py_Net', '_3d')
    """
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    return f"_{name}" if name[:1].isdigit() or not name else name


def _text(value: Any) -> str:
    """Return a field as text; a minus is ``m`` and a decimal point is ``p``."""
    if isinstance(value, float):
        value = repr(value + 0.0).removesuffix(".0").replace("-", "m").replace(".", "p")
    return str(value)
