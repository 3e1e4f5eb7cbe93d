"""The recipe: what determines a training, apart from model, data and seed."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Recipe(BaseModel):
    """How a model is trained; part of a training's fingerprint.

    The device, the number of processes and other matters of execution are not in it: they must not
    change what is learned.
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
        default=0.01, gt=0, le=1, description="where the schedule ends, as a share of its start"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    evaluate_every: int = Field(default=100, ge=1, description="steps between looks at validation")
    limit: int | None = Field(
        default=None, ge=1, description="use at most this many images of each split"
    )
