"""Lightning's Trainer with the settings of the caller alone."""

from __future__ import annotations

from inspect import signature
from typing import Any

from pytorch_lightning import Trainer


def make_trainer(**arguments: Any) -> Trainer:
    """Return a Trainer that reads no variable of the environment.

    Lightning takes each argument that it is not given from a variable such as
    ``PL_TRAINER_GRADIENT_CLIP_VAL``. A training is what its recipe says, so all are given.

    Args:
        arguments: Those of the Trainer that differ from Lightning's defaults.

    Raises:
        MisconfigurationException: Lightning refuses them.
        ValueError: Lightning refuses them.
    """
    defaults = {name: each.default for name, each in signature(Trainer).parameters.items()}
    return Trainer(**(defaults | arguments))
