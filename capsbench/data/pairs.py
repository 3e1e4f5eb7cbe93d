"""Batches of any loader: pairs of images and targets as the batches that models are trained on."""

from __future__ import annotations

import torch
from torch import Tensor

from capsbench.contracts import Batch
from capsbench.data.batches import StoredBatch
from capsbench.errors import UserError
from capsbench.viewpoint.views import Views

FORM = "a pair (images, targets) with images (B, C, H, W) as floats in [0, 1]"


def as_batch(batch: object) -> Batch:
    """Return a batch of a data module unchanged, and a pair (images, targets) as one.

    The images of a pair are seen as they are, and numbered from 0.

    Raises:
        UserError: It is neither.
    """
    match batch:
        case Batch():
            return batch
        case StoredBatch():
            raise UserError(
                "expected a data module, got one of its loaders, whose batches it has to render; "
                "pass it whole: trainer.fit(task, datamodule=data)"
            )
        case [Tensor() as images, Tensor() as targets]:
            if images.dim() != 4 or not images.is_floating_point():
                kind = str(images.dtype).removeprefix("torch.")
                raise UserError(f"expected {FORM}, got {kind} images {tuple(images.shape)}")
            views = Views.identity(len(images)).to(images)
            return Batch(images, targets, views, torch.arange(len(images), device=images.device))
    raise UserError(f"expected a capsbench.contracts.Batch or {FORM}, got {type(batch).__name__}")
