"""Options of SLURM jobs, as ``--slurm partition=gpu,time=120`` states them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from capsbench.errors import UserError
from capsbench.strict import StrictModel

SETUP = "setup="


class SlurmOptions(StrictModel):
    """Resources and limits of each job; what is None is the cluster's default.

    Other options of ``sbatch`` are its variables, such as ``SBATCH_RESERVATION``.

    Attributes:
        cluster: ``slurm``, or ``local`` for processes of this machine in the place of jobs, to try
            a run without SLURM.
        partition: Partition.
        time: Limit of a job in minutes. A job that reaches it saves its state and is queued again.
        account: Account.
        qos: Quality of service.
        constraint: Features of nodes, such as ``a100|h100``.
        gres: Generic resources of a job, such as ``gpu:a100:1``, in place of its number of GPUs.
        mem: Memory of a node, such as ``16G``.
        requeue: Queue a job again that was preempted or reached its limit.
        signal: Seconds before the limit at which a job saves its state.
        setup: Lines of shell before each job, such as ``module load cuda``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cluster: Literal["slurm", "local"] = "slurm"
    partition: str | None = None
    time: int = Field(default=240, ge=1)
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str | None = None
    mem: str | None = None
    requeue: bool = True
    signal: int = Field(default=90, ge=1)
    setup: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _signal_comes_in_time(self) -> Self:
        if self.signal >= 60 * self.time:
            raise ValueError(
                f"expected less than the limit of {60 * self.time} s for signal, got {self.signal} "
                "s; raise time or lower signal"
            )
        return self


def parse_slurm(texts: Sequence[str]) -> SlurmOptions:
    """Read options such as ``partition=gpu,time=120``.

    A part without ``=`` belongs to the value before it, as in ``gres=gpu:1,shard:2``. A text that
    starts with ``setup=`` is one line of shell as a whole.

    Args:
        texts: The texts, each with one or more options.

    Raises:
        UserError: An option is unknown, or its value does not fit.

    >>> parse_slurm(["partition=gpu,time=120", "setup=module load cuda, gcc"]).setup
    ('module load cuda, gcc',)
    """
    values: dict[str, str] = {}
    setup: list[str] = []
    for text in texts:
        if text.startswith(SETUP):
            setup.append(text.removeprefix(SETUP))
        else:
            values |= _pairs(text)
    if unknown := values.keys() - SlurmOptions.model_fields.keys():
        known = ", ".join(SlurmOptions.model_fields)
        raise UserError(f"--slurm has no option '{min(unknown)}'; known: {known}")
    try:
        return SlurmOptions.model_validate_strings(values).model_copy(
            update={"setup": tuple(setup)}
        )
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        given = "".join(f" {name}={values.get(str(name), '')}" for name in first["loc"])
        raise UserError(f"--slurm{given}: {message}") from None


def _pairs(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    name = ""
    for part in text.split(","):
        before, equals, after = part.partition("=")
        if equals:
            name = before.strip()
            pairs[name] = after.strip()
        elif name:
            pairs[name] += f",{part}"
        else:
            raise UserError(f"--slurm takes options such as partition=gpu,time=120; got '{text}'")
    return pairs
