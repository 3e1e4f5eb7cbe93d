"""Estimated time, memory and disk of a training, from a few timed steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.backends import use_backend
from capsbench.contracts import Batch, Model
from capsbench.environment.failure_kinds import classify
from capsbench.errors import UserError
from capsbench.profiling.model_cost import model_cost
from capsbench.profiling.timing import seconds_per_call
from capsbench.running.cell import Cell
from capsbench.training.devices import use_threads
from capsbench.training.recipe import ProtocolRecipe
from capsbench.training.selection import RULES
from capsbench.viewpoint.views import Views

STEPS = 3  # timed steps, after two warm-up steps
NUMBER = 4  # bytes of a float32
PRECISIONS = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class TrainingEstimate:
    """Resources of one training.

    Attributes:
        seconds: Time of the steps on this device, without validation, batches and measures; None if
            a step fails.
        vote_bytes: Size of the votes of a batch in float32, over all routing layers, stored by the
            backend or not; None if a step fails.
        disk_bytes: Size of the checkpoints, one per selection rule.
        state_bytes: Size of the resumable state, until the training is done.
        problem: Reason why a step fails; None if it does not.
    """

    seconds: float | None
    vote_bytes: int | None
    disk_bytes: int
    state_bytes: int
    problem: str | None = None


def estimate_trainings(
    cells: Sequence[Cell], device: str, backend: Backend
) -> list[TrainingEstimate]:
    """Estimate each cell's training; equal networks are timed once.

    A step that fails, as that of a user's own network or for its memory, is part of the estimate:
    the training would fail as well.

    Args:
        cells: The cells.
        device: ``cpu``, ``cuda`` or ``mps``.
        backend: Routing implementation.

    Raises:
        UserError: The backend does not run on the device.
    """
    known: dict[str, TrainingEstimate] = {}
    estimates = []
    for cell in cells:
        recipe, data = cell.recipe, cell.config.data
        model_config = cell.config.model.model_dump(mode="json")
        threads = cell.config.threads
        parts = [model_config, data.image_shape, recipe.batch_size, recipe.precision, threads]
        key = json.dumps(parts)
        if key not in known:
            known[key] = _estimate_step(cell, device, backend)
        step = known[key]
        seconds = None if step.seconds is None else step.seconds * recipe.steps
        estimates.append(replace(step, seconds=seconds))
    return estimates


def _estimate_step(cell: Cell, device: str, backend: Backend) -> TrainingEstimate:
    """Return the resources of a training of one step."""
    recipe, model = cell.recipe, cell.build_model()
    size = NUMBER * sum(weight.numel() for weight in model.parameters())
    # Weights, two moments of Adam, and the weights that each rule has selected so far.
    disk, state = len(RULES) * size, (3 + len(RULES)) * size
    try:
        votes = sum(model_cost(model.eval()).vote_bytes(recipe.batch_size).values())
        with use_threads(cell.config.threads):
            seconds = step_seconds(model, recipe, device, backend)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - code of the user's fails with any error
        return TrainingEstimate(None, None, disk, state, classify(error).reason)
    return TrainingEstimate(seconds, votes, disk, state)


def step_seconds(model: Model, recipe: ProtocolRecipe, device: str, backend: Backend) -> float:
    """Return the seconds of a training step on random images: forward, backward, update."""
    from capsbench.training.task import Task  # imports Lightning

    task = Task(model.train(), recipe.task_recipe).to(device)
    use_backend(model, backend)
    optimizer = task.build_optimizer()
    count = recipe.batch_size
    images = torch.rand(count, *model.image_shape, device=device)
    targets = torch.arange(count, device=device) % model.num_classes
    batch = Batch(images, targets, Views.identity(count), torch.arange(count), None)
    half = PRECISIONS.get(recipe.precision)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=half, enabled=half is not None):
            loss = model.loss(model(batch.images), batch, 0.0)
        loss.backward()
        optimizer.step()

    return median(seconds_per_call(step, device, STEPS))
