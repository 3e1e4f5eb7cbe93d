"""Trainings from a Lightning configuration file; needs the package jsonargparse."""

from __future__ import annotations

from pydantic import BaseModel
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from capsbench.data.augmentation import AugmentationOperation
from capsbench.errors import UserError
from capsbench.viewpoint.ranges import ViewRange

try:
    from jsonargparse.typing import register_type
except ModuleNotFoundError:
    raise UserError(
        "configuration files need the package jsonargparse: pip install 'capsbench[lightning-cli]'"
    ) from None

SUPPLIED = ("image_shape", "num_classes")


def _plain(value: BaseModel) -> object:
    return value.model_dump(mode="json")


for schema in (ViewRange, AugmentationOperation):  # written as in benchmark files
    register_type(schema, _plain, schema.model_validate)


class TaskCLI(LightningCLI):
    """A LightningCLI in which the model gets image shape and classes from the data module.

    ``TaskCLI(Task, Digits)`` is a program for one data set, and
    ``TaskCLI(Task, ImageDataModule, subclass_mode_data=True)`` for all. Views and augmentations are
    written as in benchmark files.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the arguments of the model to the attributes of the data module."""
        for name in SUPPLIED:
            parser.link_arguments(
                f"data.{name}", f"model.model.init_args.{name}", apply_on="instantiate"
            )
