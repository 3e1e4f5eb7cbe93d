"""Check that a model answers the same images alike: again, and in another batch."""

from __future__ import annotations

import torch
from pytorch_lightning.utilities.seed import isolate_rng

from capsbench.capsules.relative_error import max_relative_error
from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
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
        first, again = model(images).scores.float(), model(images).scores.float()
        fewer = model(images[:FEWER]).scores.float()
    if (error := max_relative_error(again, first)) > REPEATED:
        note = (
            f"the model answers the same images differently each time (by {error:.2g} of the "
            "largest score), as with dropout in evaluation mode: the numbers depend on the draw"
        )
        return (note,)
    if (error := max_relative_error(fewer, first[:FEWER])) > OTHER_BATCH:
        note = (
            f"the answer for an image depends on the other images of its batch (by {error:.2g} of "
            "the largest score), as with batch statistics in evaluation mode: the numbers depend "
            "on the batch size"
        )
        return (note,)
    return ()
