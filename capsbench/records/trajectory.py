"""The trajectory of a training: rows of a table, checked against the records of the training."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from capsbench.errors import UserError
from capsbench.files.atomic import Row, read_rows
from capsbench.records.record import REMEDY, damaged_record
from capsbench.records.training import TrainingConfig, TrainingRecord
from capsbench.training.selection import RULES, accuracy_column, at_step
from capsbench.values import LARGEST


def load_rows(
    path: Path, config: TrainingConfig | None, training: TrainingRecord | None
) -> list[Row]:
    """Read a trajectory.

    Args:
        path: The file.
        config: What determines the training; None if it is not known.
        training: Outcome of the training; None before it is done.

    Raises:
        UserError: It holds no rows of numbers, or others than the records state.
    """
    try:
        rows = read_rows(path)
        if config is not None:
            check_rows(rows, config, training)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from None
    except ValueError as error:
        raise damaged_record(path, str(error)) from None
    return rows


def check_rows(
    rows: Sequence[Row], config: TrainingConfig, training: TrainingRecord | None
) -> None:
    """Check a trajectory against what determines the training, and against its outcome.

    Its steps must be those of the validations, its accuracies shares, and the step that each rule
    selects from it the recorded one.

    Raises:
        ValueError: It does not fit.
    """
    columns = ("validation_loss", "validation_accuracy", *map(accuracy_column, config.follow))
    for row in rows:
        if missing := [name for name in ("step", *columns) if name not in row]:
            raise ValueError(f"no column {missing[0]}")
        if wrong := [name for name, value in row.items() if not _is_possible(name, value)]:
            raise ValueError(f"{wrong[0]} {row[wrong[0]]:g} at step {row['step']:g}")
    if training is None:
        return
    steps, expected = [row["step"] for row in rows], validation_steps(config, training)
    if steps != expected:
        listed = f"{len(expected)} rows" + (f" up to step {expected[-1]}" if expected else "")
        raise ValueError(f"expected {listed}, got {len(rows)} rows that do not have its steps")
    for rule, selected in training.selected.items():
        step = RULES[rule](rows) if rule in RULES and rows else None
        if step != selected.step or selected.accuracy not in (
            None,
            at_step(rows, step)["validation_accuracy"],
        ):
            raise ValueError(f"rule '{rule}' selects another row of it than training.json states")


def validation_steps(config: TrainingConfig, training: TrainingRecord) -> list[int]:
    """Return the steps at which a training was validated: the last one too, unless it diverged."""
    recipe = config.recipe
    diverged = training.status == "diverged"
    end = (training.diverged_at or recipe.steps + 1) if diverged else recipe.steps
    regular = list(range(recipe.evaluate_every, end, recipe.evaluate_every))
    return regular if diverged else [*regular, recipe.steps]


def _is_possible(column: str, value: float) -> bool:
    """Check that a number is finite and, by its column, a share, a step or a duration."""
    if not isfinite(value) or abs(value) > LARGEST:
        return False
    if column.endswith("_accuracy"):
        return 0 <= value <= 1
    if column == "step":
        return value >= 1 and value.is_integer()
    return value >= 0 or column != "seconds"
