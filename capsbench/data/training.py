"""Training batches of a data module, as one stream in all processes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from capsbench.data.batches import StoredBatch, TrainingStream
from capsbench.errors import UserError

if TYPE_CHECKING:
    from capsbench.data.images import ImageDataModule


def training_stream(data: ImageDataModule) -> TrainingStream:
    """Return the stream of training batches; this process's share if there are several.

    It starts at the next batch of a training that is running.

    Args:
        data: The data module.

    Raises:
        UserError: The processes cannot share a batch, or the Trainer repeats some batches.
    """
    rank, world_size = data.rank_and_world_size
    require_shares(data.batch_size, world_size)
    trainer = data.trainer
    if trainer is not None and trainer.overfit_batches:  # type: ignore[attr-defined]  # set elsewhere
        raise UserError(
            "training batches are drawn anew in each epoch, so that overfit_batches would not "
            "repeat them; give the data module a limit of images instead"
        )
    stream = TrainingStream(
        len(data.split("train")),
        batch_size=data.batch_size,
        make_batch=partial(_make_batch, data),
        seed=data.seed,
        rank=rank,
        world=world_size,
        limit=1.0 if trainer is None else trainer.limit_train_batches,
    )
    if trainer is not None and trainer.state.status == "running":
        # Lightning restores the position within an epoch, but not at its end.
        stream.position = trainer.fit_loop.total_batch_idx + 1
    return stream


def require_shares(batch_size: int, processes: int) -> None:
    """Refuse a batch that processes cannot share equally: its gradient would not be the same.

    Raises:
        UserError: ``batch_size`` is no multiple of ``processes``.
    """
    if batch_size % processes:
        raise UserError(
            f"a batch of {batch_size} images cannot be shared equally by {processes} processes; "
            f"set recipe.batch_size to a multiple of {processes}"
        )


def _make_batch(data: ImageDataModule, number: int, rows: Tensor, share: slice) -> StoredBatch:
    if not data.augmentation:
        return data.make_training_batch(number, rows, share)
    # kornia draws for the images of a batch together: only the whole one has the same draws in any
    # number of processes.
    whole = data.make_training_batch(number, rows, slice(None))
    return replace(whole, augmentation=(number, share))
