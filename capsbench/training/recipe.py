"""Recipe: the hyperparameters of a training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from capsbench.data.augmentation import AugmentationOperation


class Recipe(BaseModel):
    """Hyperparameters of a training; part of its fingerprint.

    Device, number of processes and other settings of execution are not part of it, since they must
    not change the result.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    steps: int = Field(ge=1, description="optimizer steps")
    batch_size: int = Field(
        default=64, ge=1, description="images per step, over all processes together"
    )
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "cosine", "exponential"] = "constant"
    final_learning_rate: float = Field(
        default=0.01, gt=0, le=1, description="final learning rate as a share of the initial one"
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

    @field_validator("augmentation", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            example = value if isinstance(value, str) else "RandomErasing"
            raise ValueError(f"expected a list of operations, such as [{example}]")
        return value
