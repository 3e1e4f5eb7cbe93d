"""Lightning's Trainer with the settings of the caller alone."""

from __future__ import annotations

from inspect import signature
from typing import Any

from pytorch_lightning import Trainer


def make_trainer(**arguments: Any) -> Trainer:
    """Return a Trainer that reads no variable of the environment.

    Lightning takes each argument that it is not given from a variable such as
    ``PL_TRAINER_GRADIENT_CLIP_VAL``. A training is what its recipe says, so all are given. Signals
    are those of `capsbench.environment.signals`: Lightning would end with exit code 0 after
    SIGTERM, requeue jobs of SLURM by itself, and exchange a flag between processes in every step.

    Args:
        arguments: Those of the Trainer that differ from Lightning's defaults.

    Raises:
        MisconfigurationException: Lightning refuses them.
        ValueError: Lightning refuses them.
    """
    defaults = {name: each.default for name, each in signature(Trainer).parameters.items()}
    trainer = Trainer(**(defaults | arguments))
    # Lightning has no option for this.
    signals, loop = trainer._signal_connector, trainer.fit_loop.epoch_loop  # noqa: SLF001
    vars(signals)["register_signal_handlers"] = vars(loop)["_broadcast_sigterm_tensor"] = _nothing
    return trainer


def _nothing() -> None:
    """Take the place of a method of Lightning."""
