"""What a training will take, from a few timed steps: time, memory of votes, disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.backends import use_backend
from capsbench.contracts import Batch, Model
from capsbench.errors import UserError
from capsbench.profiling.model_cost import cost
from capsbench.profiling.timing import seconds_per_call
from capsbench.running.plan import Cell
from capsbench.training.recipe import Recipe
from capsbench.training.selection import RULES
from capsbench.training.task import Task
from capsbench.viewpoint.views import Views

STEPS = 3  # that are timed, after two that are not
NUMBER = 4  # bytes of a float32
PRECISIONS = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Estimate:
    """What one training takes.

    Attributes:
        seconds: Of its steps alone on this device; looks, the making of batches and measures come
            on top.
        vote_bytes: The votes of a batch in float32, over all routing layers, whether a backend
            stores them or not.
        disk_bytes: Its checkpoints, one for each selection rule.
        state_bytes: The state to resume from, which is there until the training is done.
    """

    seconds: float
    vote_bytes: int
    disk_bytes: int
    state_bytes: int


def estimates(cells: Sequence[Cell], device: str, routing: Backend) -> list[Estimate]:
    """What each cell's training takes; equal networks are timed once.

    Args:
        cells: The cells.
        device: ``cpu``, ``cuda`` or ``mps``.
        routing: In which form routing is computed.

    Raises:
        UserError: A step does not fit into the device's memory.
    """
    known: dict[str, tuple[float, int, int]] = {}
    found = []
    for cell in cells:
        recipe, data = cell.recipe, cell.config["data"]
        parts = [cell.config["model"], data["image_shape"], recipe.batch, recipe.precision]
        key = json.dumps(parts)
        if key not in known:
            model = cell.build_model()
            votes = sum(cost(model.eval()).vote_bytes(recipe.batch).values())
            size = NUMBER * sum(weight.numel() for weight in model.parameters())
            try:
                seconds = step_seconds(model, recipe, device, routing)
            except torch.OutOfMemoryError:
                raise UserError(
                    f"{cell.title}: a step of {recipe.batch} images does not fit the memory of "
                    "this device; ask for a smaller recipe.batch"
                ) from None
            known[key] = seconds, votes, size
        seconds, votes, size = known[key]
        # Weights, two moments of Adam, and the weights that each rule has chosen so far.
        state = (3 + len(RULES)) * size
        found.append(Estimate(seconds * recipe.steps, votes, len(RULES) * size, state))
    return found


def step_seconds(model: Model, recipe: Recipe, device: str, routing: Backend) -> float:
    """The time of a training step on random images: forward, backward, update."""
    task = Task(model.train(), recipe).to(device)
    use_backend(model, routing)
    optimizer = task.configure_optimizers()["optimizer"]
    count = recipe.batch
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
