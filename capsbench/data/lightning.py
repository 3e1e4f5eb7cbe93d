"""Base of data modules, which becomes a LightningDataModule as soon as one is used for training.

To import Lightning takes longer than most commands. Planning, measuring and reading records need
only the images of a data module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pytorch_lightning import LightningDataModule

    Attachable: TypeAlias = LightningDataModule
else:

    class _Detached:
        """Data module without a Trainer."""

        trainer = None

    class Attachable(_Detached):
        """Base of `ImageDataModule`; its own base is a LightningDataModule after `attach`."""


def attach() -> None:
    """Make every data module class a LightningDataModule; those that are made later are complete.

    `capsbench.training` does so when it is imported, and each call of a data module's class.
    """
    from pytorch_lightning import LightningDataModule

    Attachable.__bases__ = (LightningDataModule,)
