"""Recipes: the hyperparameters of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from capsbench.arguments import OneSentence
from capsbench.data.augmentation import AugmentationOperation
from capsbench.strict import StrictModel

# The place of each setting of a protocol in a training by plain Lightning.
PLACES = {
    "steps": "Trainer(max_steps=...)",
    "batch_size": "the data module's batch_size",
    "precision": "Trainer(precision=...)",
    "evaluate_every": "Trainer(val_check_interval=...)",
    "limit": "the data module's limit",
    "augmentation": "the data module's augmentation",
}


class Recipe(StrictModel, metaclass=OneSentence):
    """Optimizer and learning rate: the hyperparameters that a `Task` applies.

    Raises:
        UserError: A field is unknown, one of `ProtocolRecipe` only, or has a value that is not
            allowed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "cosine", "exponential"] = "constant"
    final_learning_rate: float = Field(
        default=0.01, gt=0, le=1, description="final learning rate as a share of the initial one"
    )
    warmup: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the steps in which the learning rate rises to the initial one",
    )

    @model_validator(mode="before")
    @classmethod
    def _known(cls, fields: Any) -> Any:
        """Name the place of a setting that a task does not apply."""
        if isinstance(fields, Mapping):
            for name in fields:
                if name in PLACES and name not in cls.model_fields:
                    raise ValueError(
                        f"'{name}' is not part of the recipe of a Task; set it by {PLACES[name]}"
                    )
        return fields


class ProtocolRecipe(Recipe):
    """The ``recipe`` section of a benchmark file; part of the fingerprint of a training.

    Device, number of processes and other settings of execution are not part of it, since they must
    not change the result.
    """

    steps: int = Field(ge=1, description="optimizer steps")
    batch_size: int = Field(
        default=64, ge=1, description="images per step, over all processes together"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    evaluate_every: int = Field(default=100, ge=1, description="steps between validations")
    limit: int | None = Field(
        default=None, ge=1, description="use at most this many images of each split"
    )
    augmentation: tuple[AugmentationOperation, ...] = Field(
        default=(),
        description="operations of kornia.augmentation on training images, after their views",
    )

    @property
    def task_recipe(self) -> Recipe:
        """The part that a `Task` applies; the Trainer and the data module apply the rest."""
        return Recipe.model_validate(self.model_dump(include=set(Recipe.model_fields)))

    @field_validator("augmentation", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            example = value if isinstance(value, str) else "RandomErasing"
            raise ValueError(f"expected a list of operations, such as [{example}]")
        return value
