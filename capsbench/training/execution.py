"""Execution settings of a training, which change its results by no more than rounding."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from capsbench.capsules.backend_names import Backend
from capsbench.strict import StrictModel


class Execution(StrictModel):
    """Device and settings that cells run with; recorded with each training, in no fingerprint.

    Other numbers of processes round otherwise, as other routing backends do. Batch normalization
    and dropout differ by more, since each process has its own; a run has a note on that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = Field(default=1, ge=1, description="processes per node, one device each")
    nodes: int = Field(default=1, ge=1)
    # Strategies that shard the model (fsdp) or fork (ddp_spawn) would need other checkpoints.
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"] = "auto"
    backend: Backend = Field(default="auto", description="routing implementation")
    checkpoint_every: int | None = Field(
        default=None,
        ge=1,
        description="steps between resumable states; default: evaluate_every of the recipe",
    )
    profile: bool = Field(default=False, description="profile some steps")
    wandb: Literal["off", "offline", "online"] = "offline"

    @property
    def processes(self) -> int:
        """Number of processes of a training (world size)."""
        return self.devices * self.nodes
