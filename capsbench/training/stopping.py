"""The step after which a training stops for a signal, the same one in all of its processes."""

from __future__ import annotations

import time

import torch
from pytorch_lightning import Trainer

from capsbench.environment.signals import pending_stop

SECONDS = 1.0  # between two exchanges of a group


class StopCheck:
    """Check between steps for a signal that stops the training.

    Each process of a group receives signals by itself, or none. One that stopped alone would leave
    the others waiting for its gradients. About once a second all processes therefore exchange what
    they have received. In between nothing is exchanged, so that no step waits for the others.
    """

    def __init__(self) -> None:
        self._next = 0
        self._last: int | None = None  # step of the last exchange
        self._at = time.perf_counter()

    def __call__(self, trainer: Trainer) -> int:
        """Return the number of the signal after which to stop now, 0 to go on.

        Every process of a group calls it after every step.
        """
        number, step = pending_stop(), trainer.global_step
        if trainer.world_size == 1:
            return number
        if step < self._next:
            return 0
        now = time.perf_counter()
        steps = 1 if self._last is None else step - self._last  # a training can go on at any step
        seconds = (now - self._at) / steps
        values = torch.tensor(
            [number, seconds], dtype=torch.float32, device=trainer.strategy.root_device
        )
        number, seconds = trainer.strategy.reduce(values, reduce_op="max").tolist()
        # At first a step takes long. So the interval grows step by step.
        self._next = step + min(2 * steps, max(1, int(SECONDS / max(seconds, 1e-6))))
        self._last, self._at = step, now
        return int(number)
