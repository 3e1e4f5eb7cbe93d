"""Section ``precision``: first steps of a training in each precision, and compiled as a whole."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.precision import MixedPrecision

from capsbench.contracts import ImageShape
from capsbench.names import find
from capsbench.profiling.timing import synchronize
from capsbench.speed.gpu.parts import Incomplete, NotMeasured, Parts, Values, Work
from capsbench.speed.loops import fit_quietly
from capsbench.training.task import PRECISIONS, Task
from capsbench.viewpoint.ranges import ViewRange
from capsbench.wrapping import model_class

VIEWS = ViewRange(rotation=(-15, 15), shift=(-2, 2))
WARM_UP = 5  # steps before the timed ones
FIRST_SCALE = 2.0**16  # of torch's GradScaler, which grows after 2,000 steps at the earliest


@dataclass(frozen=True)
class Contestant:
    """A model with its arguments.

    Attributes:
        name: Registered name.
        small: Arguments of its small size.
    """

    name: str
    small: Mapping[str, Any]


CONTESTANTS = (
    Contestant("cnn-small", {"width": 4, "hidden": 8}),
    Contestant("capsnet-dr", {"channels": 4, "stride": 2, "primary_types": 2, "decoder": ()}),
    Contestant("capsnet-em-small", {"channels": 4, "primary_types": 2, "types": (2, 2)}),
)


def plan(parts: Parts) -> Mapping[str, Work]:
    """Return a part for each model and precision, then one for each compiled model."""
    return {
        f"{each.name}, {precision}": partial(train, parts, each, precision, compiled=False)
        for each in CONTESTANTS
        for precision in PRECISIONS
    } | {
        f"{each.name}, 32-true, torch.compile": partial(
            train, parts, each, "32-true", compiled=True
        )
        for each in CONTESTANTS[: 1 if parts.small else None]
    }


def train(parts: Parts, contestant: Contestant, precision: str, *, compiled: bool) -> Values:
    """Train on warped digits; the same seed and batches in every precision.

    Returns:
        The loss of each step, images per second after the warm-up, peak memory, seconds of the
        first step, and the steps that the scaling of gradients left out.

    Raises:
        NotMeasured: The device has no such precision.
        Incomplete: A loss is not finite.
    """
    if precision == "16-mixed" and parts.device == "cpu":
        raise NotMeasured("16-mixed needs a GPU")
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    steps, batch_size = (8, 8) if parts.small else (40, 128)
    data = find("datamodules", "digits").load()(views=VIEWS, batch_size=batch_size)
    shape: ImageShape = data.image_shape
    torch.manual_seed(0)
    arguments = contestant.small if parts.small else {}
    model = model_class(find("models", contestant.name))(
        image_shape=shape, num_classes=data.num_classes, **arguments
    )
    task, recorder = Task(model), _Recorder(parts.device)
    trainer = fit_quietly(
        torch.compile(task) if compiled else task,
        data,
        device=parts.device,
        steps=steps,
        callback=recorder,
        precision=precision,
        max_epochs=-1,
    )
    losses = [round(loss, 6) for loss in torch.stack(recorder.losses).tolist()]
    timed = (len(losses) - WARM_UP) * batch_size
    values = {
        "losses": losses,
        "first loss": losses[0],
        "last loss": losses[-1],
        "images_per_second": round(timed / (recorder.last - recorder.warm), 1),
        "seconds_of_first_step": round(recorder.first - recorder.begin, 3),
        "peak_bytes": recorder.peak_bytes,
        "skipped_steps": _skipped_steps(trainer),
    }
    if not all(map(math.isfinite, losses)):
        raise Incomplete(ArithmeticError("a loss is not finite"), values)
    return values


def _skipped_steps(trainer: Trainer) -> int | None:
    """Return the steps with infinite float16 gradients: each halved the scale, which grows late."""
    plugin = trainer.precision_plugin
    if not isinstance(plugin, MixedPrecision) or plugin.scaler is None:
        return None
    return round(math.log2(FIRST_SCALE / plugin.scaler.get_scale()))


class _Recorder(Callback):
    """Records losses, times and memory of a training."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.losses: list[torch.Tensor] = []
        self.begin = self.first = self.warm = self.last = 0.0
        self.peak_bytes: int | None = None

    def on_train_start(self, *_: Any) -> None:
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self.begin = self._now()

    def on_train_batch_end(self, trainer: Trainer, _: Any, outputs: Any, *__: Any) -> None:
        self.losses.append(outputs["loss"].detach().float())
        if trainer.global_step == 1:
            self.first = self._now()
        if trainer.global_step == WARM_UP:
            self.warm = self._now()

    def on_train_end(self, *_: Any) -> None:
        self.last = self._now()
        if self.device == "cuda":
            self.peak_bytes = torch.cuda.max_memory_allocated()

    def _now(self) -> float:
        """Return the time in seconds after the device has finished its work."""
        synchronize(self.device)
        return time.perf_counter()
