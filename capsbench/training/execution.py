"""Execution settings of a training, which change its results by no more than rounding."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from capsbench.arguments import one_line
from capsbench.capsules.backend_names import Backend
from capsbench.errors import UserError
from capsbench.strict import StrictModel

LoggerName = Literal["tensorboard", "csv"]


def _project_name(name: str) -> str:
    """Return a name that a project on Weights & Biases can have."""
    if not re.fullmatch(r"[^/\\#?%:\s][^/\\#?%:\r\n]{0,127}", name):
        raise ValueError("expected a name of at most 128 characters without / \\ # ? % or :")
    return name


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
    loggers: tuple[LoggerName, ...] = Field(default=(), description="curves as files")
    wandb: Literal["off", "offline", "online"] = "offline"
    wandb_project: Annotated[str, AfterValidator(_project_name)] | None = None
    wandb_entity: str | None = Field(default=None, min_length=1)
    wandb_tags: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = ()
    wandb_artifacts: bool = Field(default=False, description="weights and records as artifacts")

    @property
    def processes(self) -> int:
        """Number of processes of a training (world size)."""
        return self.devices * self.nodes


def make_execution(**settings: Any) -> Execution:
    """Return checked settings.

    Raises:
        UserError: One is not allowed, or a logger needs a package that is not installed.
    """
    try:
        execution = Execution.model_validate(settings)
    except ValidationError as error:
        raise UserError(one_line(error)) from None
    if "tensorboard" in execution.loggers and find_spec("tensorboard") is None:
        raise UserError(
            "the logger tensorboard needs the package tensorboard: pip install "
            "'capsbench[tensorboard]'"
        )
    return execution
