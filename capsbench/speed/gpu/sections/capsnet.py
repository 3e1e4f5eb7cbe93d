"""Section ``capsnet``: the first steps of Sabour's CapsNet of full width on warped digits."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from capsbench.contracts import Model
from capsbench.names import find
from capsbench.profiling.timing import synchronize
from capsbench.speed.gpu.parts import Parts, Values, Work
from capsbench.speed.gpu.sections.precision import VIEWS
from capsbench.training.execution import Execution
from capsbench.training.recipe import ProtocolRecipe
from capsbench.training.selection import Row
from capsbench.training.train import train
from capsbench.wrapping import model_class

NAME = "capsnet-dr"
SMALL: Mapping[str, Any] = {"channels": 8, "stride": 2, "primary_types": 2, "decoder": ()}


def plan(parts: Parts) -> Mapping[str, Work]:
    """Return one part, which keeps its results at each validation."""
    return {f"{NAME}, digits": partial(first_steps, parts)}


def first_steps(parts: Parts) -> Values:
    """Train as a protocol does; return a row for each validation.

    A row has the step, mean training loss since the last row, validation accuracy, images per
    second of the steps alone, and peak memory so far.
    """
    steps, every, batch_size = (10, 5, 16) if parts.small else (500, 100, 128)
    data = find("datamodules", "digits").load()(views=VIEWS, batch_size=batch_size)
    arguments = SMALL if parts.small else {}
    recipe = ProtocolRecipe(steps=steps, batch_size=batch_size, evaluate_every=every)
    clock = _Clock(parts.device, every)
    rows: list[dict[str, Any]] = []

    def build() -> Model:
        model: Model = model_class(find("models", NAME))(
            image_shape=data.image_shape, num_classes=data.num_classes, **arguments
        )
        return model

    def on_rows(trajectory: list[Row]) -> None:
        row = trajectory[-1]
        names = ("train_loss", "validation_loss", "validation_accuracy", "seconds")
        speed = clock.images_per_second(batch_size)
        rows.append(
            {
                "step": int(row["step"]),
                **{name: round(row[name], 5) for name in names},
                "images_per_second": speed and round(speed, 1),
                "peak_bytes": _peak_bytes(parts.device),
            }
        )
        parts.keep({"rows": rows})

    if parts.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            build,
            data,
            recipe,
            # Without states between: their writing is no part of a step.
            Execution(device=parts.device, checkpoint_every=steps, wandb="off"),
            seed=0,
            state=Path(folder, "state.ckpt"),
            loggers=[],
            on_step=clock.step,
            on_rows=on_rows,
        )
    if result.diverged_at is not None:
        raise ArithmeticError(f"the loss is not finite at step {result.diverged_at}")
    parameters = sum(weight.numel() for weight in build().parameters())
    return {"rows": rows, "parameters": parameters, "batch_size": batch_size}


class _Clock:
    """Times the steps between two validations, without the first and the last one."""

    def __init__(self, device: str, every: int) -> None:
        self.device = device
        self.every = every
        self.begin = self.end = 0.0

    def step(self, step: int) -> None:
        """Read the time after the first and before the last step; the device must be idle then."""
        position = step % self.every
        if position == 1:
            self.begin = self._now()
        elif position == self.every - 1:
            self.end = self._now()

    def images_per_second(self, batch_size: int) -> float | None:
        """Return the speed between both times; None if there were no steps between them."""
        seconds = self.end - self.begin
        return (self.every - 2) * batch_size / seconds if seconds > 0 else None

    def _now(self) -> float:
        synchronize(self.device)
        return time.perf_counter()


def _peak_bytes(device: str) -> int | None:
    return torch.cuda.max_memory_allocated() if device == "cuda" else None
