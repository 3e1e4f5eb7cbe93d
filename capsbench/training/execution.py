"""Execution: how a training is carried out, which must not change what is learned."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from capsbench.capsules.backend_names import Backend


class Execution(BaseModel):
    """Where and how cells run; recorded with each training, part of no fingerprint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = Field(default=1, ge=1, description="processes (one device each) per node")
    nodes: int = Field(default=1, ge=1)
    # Strategies that shard the model (fsdp) or fork (ddp_spawn) would need other checkpoints.
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"] = "auto"
    routing: Backend = Field(default="auto", description="in which form routing is computed")
    checkpoint_every: int | None = Field(
        default=None,
        ge=1,
        description="steps between resumable states; as evaluate_every if left out",
    )
    profile: bool = Field(default=False, description="whether some steps are profiled")
    wandb: Literal["off", "offline", "online"] = "offline"

    @property
    def processes(self) -> int:
        """World size of a training."""
        return self.devices * self.nodes
