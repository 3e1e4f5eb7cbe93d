"""The network with which a training begins."""

from __future__ import annotations

from collections.abc import Callable

import torch

from capsbench.contracts import Model
from capsbench.data.randomness import derive


def build_initial(build: Callable[[], Model], seed: int) -> Model:
    """Build a model with the weights with which its training begins, bit for bit.

    The global random state is set, and is that of the seed and the draws of the model afterwards.

    Args:
        build: Builds the model on the CPU.
        seed: Seed of the training.
    """
    torch.manual_seed(derive(seed, "model"))
    return build()
