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
        """Base without Lightning; bases can be replaced in a class that has one of its own."""

        trainer = None

    class Attachable(_Detached):
        """Base of `ImageDataModule`; its own base is a LightningDataModule after `attach`."""


def attach() -> None:
    """Make every data module class a LightningDataModule, and all of their instances.

    `capsbench.training` does so when it is imported, and each call of a data module's class.
    """
    from pytorch_lightning import LightningDataModule

    if LightningDataModule in Attachable.__bases__:
        return
    Attachable.__bases__ = (LightningDataModule,)
    # Its constructor sets these, which was not called for the instances that there are.
    for name, value in vars(LightningDataModule()).items():
        setattr(Attachable, name, value)
