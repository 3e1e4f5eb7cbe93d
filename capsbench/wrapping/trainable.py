"""Trial of a model that is to be trained, before any training."""

from __future__ import annotations

import torch

from capsbench.contracts import Model
from capsbench.errors import UserError, in_one_line
from capsbench.wrapping.logits_model import LogitsModel

BATCH = 2  # batch normalisation cannot be trained on one image


def require_trainable(model: Model, name: str) -> None:
    """Try a model that is to be trained; a wrapped network on black images in training mode.

    The model is left in training mode, with changed statistics of batch normalisation. Random
    draws are forked.

    Args:
        model: The model, on the CPU.
        name: Its name, for error messages.

    Raises:
        UserError: It has no trainable parameters, or fails or returns no logits in training mode.
    """
    if not any(weight.requires_grad for weight in model.parameters()):
        raise UserError(
            f"model '{name}' has no trainable parameters; measure it by capsbench evaluate"
        )
    if not isinstance(model, LogitsModel):
        return
    try:
        with torch.random.fork_rng(devices=[]):
            model.train()(torch.zeros(BATCH, *model.image_shape))
    except Exception as error:  # a user's network may raise anything
        own = isinstance(error, UserError)
        reason = error if own else in_one_line(error, type(model).__module__)
        raise UserError(f"model '{name}' in training mode: {reason}") from error
