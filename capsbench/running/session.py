"""Session: the folders, execution settings and console that the steps of a command share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from rich.console import Console

from capsbench.capsules.backends import require_backend
from capsbench.environment.process_group import ProcessGroup, is_first_process
from capsbench.executors.options import ExecutorOptions
from capsbench.executors.template import Template
from capsbench.records import CellFolder
from capsbench.reporting.wandb.login import usable_mode
from capsbench.reporting.wandb.run import Destination
from capsbench.running.cell import Cell
from capsbench.running.worker_command import worker_template
from capsbench.training.devices import resolve_device
from capsbench.training.execution import Execution

IN_THIS_PROCESS = ExecutorOptions(workers=0)


@dataclass(frozen=True)
class Session:
    """Folders, execution settings and console of one command.

    Attributes:
        output: The runs folder.
        data_root: Folder of local data files; None for the default.
        execution: Device, processes, backend and mirror.
        console: Console for progress and results.
        options: Executor of the jobs; by default this process.
        retry_failed: Try the jobs of failed cells again.
        template: Source of the workers of this machine.
    """

    output: Path
    data_root: Path | None
    execution: Execution
    console: Console
    options: ExecutorOptions = IN_THIS_PROCESS
    retry_failed: bool = False
    template: Template = field(default_factory=lambda: worker_template(mirrors=False))

    def ready(self) -> Session:
        """Return the session with a resolved device and a usable mirror.

        Raises:
            UserError: The device or the routing backend is not available.
        """
        execution = self.execution
        mode = execution.wandb if execution.wandb == "off" else usable_mode(execution.wandb)
        if self.is_first and self.destination is not None:
            self.destination.forget_failure()
        device = self.device
        if device == "cuda" and (group := ProcessGroup.current()) is not None:
            torch.cuda.set_device(group.local_rank)  # for the measures of this process
        if not self.options.is_elsewhere:
            require_backend(execution.backend, torch.device(device))
        return replace(
            self, execution=execution.model_copy(update={"device": device, "wandb": mode})
        )

    @property
    def destination(self) -> Destination | None:
        """Place of the runs on Weights & Biases; None if there are none."""
        execution = self.execution
        if execution.wandb == "off":
            return None
        return Destination(
            self.output,
            execution.wandb,
            project=execution.wandb_project,
            entity=execution.wandb_entity,
            tags=execution.wandb_tags,
            uploads=execution.wandb_artifacts,
        )

    @property
    def device(self) -> str:
        """The device of the jobs: ``cpu``, ``cuda`` or ``mps``."""
        return resolve_device(self.execution.device, elsewhere=self.options.is_elsewhere)

    def folder(self, cell: Cell) -> CellFolder:
        """Return the folder of a cell."""
        return CellFolder(self.output / cell.path)

    @property
    def is_first(self) -> bool:
        """True in the process that measures, reports and prints."""
        return not self.is_one_of_group or is_first_process()

    @property
    def is_one_of_group(self) -> bool:
        """True if trainings need processes that others start, such as torchrun, or srun."""
        outside = self.execution.nodes > 1 or ProcessGroup.current() is not None
        return self.execution.processes > 1 and outside

    def print(self, line: str) -> None:
        """Print a line of plain text, without markup."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
