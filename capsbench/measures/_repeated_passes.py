"""Check that a model answers the same images alike: again, and in another batch."""

from __future__ import annotations

import torch
from pytorch_lightning.utilities.seed import isolate_rng

from capsbench.capsules.relative_error import max_relative_error
from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.measures._result import DEPENDS
from capsbench.profiling.evaluation_mode import evaluation_mode
from capsbench.viewpoint.views import Views

IMAGES, FEWER = 8, 2
REPEATED = 1e-4  # relative: on a GPU, sums of one pass may have another order in the next
OTHER_BATCH = 1e-3  # relative: another size of the batch may select another kernel, of TF32


@torch.no_grad()
def repeated_pass_notes(model: Model, data: ImageDataModule, device: str) -> tuple[str, ...]:
    """Return notes on a model that draws at random or uses the statistics of the batch.

    A few test images are scored twice, and the first two as a batch of their own. Random draws are
    isolated. Every number of such a model depends on the draw, or on the batch.

    Args:
        model: The model, in evaluation mode on ``device``.
        data: The data module.
        device: Device of the model.
    """
    rows = torch.arange(min(IMAGES, len(data.split("test"))))
    images = data.evaluation.get_batch("test", rows, Views.identity(1)).images.to(device)
    with isolate_rng(include_cuda=images.is_cuda), evaluation_mode(model):
        # Copies, because the next pass may overwrite scores that are a view of a buffer.
        first, again, fewer = (
            model(part).scores.float().clone() for part in (images, images, images[:FEWER])
        )
    if (error := max_relative_error(again, first)) > REPEATED:
        note = (
            f"{DEPENDS} draw: the model answers the same images differently each time, by "
            f"{error:.1g} of the largest score, as with dropout in evaluation mode"
        )
        return (note,)
    if (error := max_relative_error(fewer, first[:FEWER])) > OTHER_BATCH:
        note = (
            f"{DEPENDS} batch: an answer changes with the other images of its batch, by "
            f"{error:.1g} of the largest score, as with batch statistics in evaluation mode"
        )
        return (note,)
    return ()
