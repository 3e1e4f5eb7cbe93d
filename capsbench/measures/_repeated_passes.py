"""Check that a model answers the same images alike: again, and in another batch."""

from __future__ import annotations

import torch

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.viewpoint.views import Views

IMAGES = 8
REPEATED = 1e-4  # relative: on a GPU, sums of one pass may have another order in the next
OTHER_BATCH = 1e-3  # relative: another size of the batch may select another kernel, of TF32


def repeated_pass_notes(model: Model, data: ImageDataModule, device: str) -> tuple[str, ...]:
    """Return notes on a model that draws at random or uses the statistics of the batch.

    A few test images are evaluated twice, then in two batches; all outputs are compared. Random
    draws are isolated. Every number of such a model depends on the draw, or on the batch.

    Args:
        model: The model, in evaluation mode on ``device``.
        data: The data module.
        device: Device of the model.
    """
    from pytorch_lightning.utilities.seed import isolate_rng

    rows = torch.arange(min(IMAGES, len(data.split("test"))))
    images = data.evaluation.get_batch("test", rows, Views.identity(1)).images.to(device)
    with isolate_rng(include_cuda=images.is_cuda):
        if (error := model.check_determinism(images)) > REPEATED:
            note = (
                "numbers depend on the draw: the model answers the same images differently each "
                f"time, by {error:.1g} of the largest number, as with dropout in evaluation mode"
            )
            return (note,)
        if (error := model.check_batch_independence(images)) > OTHER_BATCH:
            note = (
                "numbers depend on the batch: an answer changes with other images in its batch, "
                f"by {error:.1g} of the largest number, as with batch statistics in evaluation mode"
            )
            return (note,)
    return ()
