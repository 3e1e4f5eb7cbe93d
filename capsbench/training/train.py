"""Training of one model: from model, data, recipe and seed to trajectory and selected weights."""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    TorchElasticEnvironment,
)
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from capsbench.capsules.backends import recorded_backends, use_backend
from capsbench.contracts import Model
from capsbench.data.batches import SplitName
from capsbench.data.images import ImageDataModule
from capsbench.environment.process_group import require_processes
from capsbench.errors import UserError
from capsbench.training.devices import ACCELERATORS
from capsbench.training.execution import Execution
from capsbench.training.initial import build_initial
from capsbench.training.profile import Profile
from capsbench.training.recipe import ProtocolRecipe
from capsbench.training.selection import Row
from capsbench.training.state_file import StateFile
from capsbench.training.task import Task
from capsbench.training.trainer import make_trainer
from capsbench.training.trajectory import Diverged, Trajectory, Weights

LOGGED_STEPS = 100  # of a training, about, of which loggers get the loss and the learning rate


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training.

    Attributes:
        rows: Trajectory.
        chosen: Step and weights that each selection rule chose.
        seconds: Time of training and validation, over all resumed parts.
        diverged_at: First step with a non-finite loss; None if there was none.
        backends_used: Routing implementations that computed something.
        zero_gradient: Share of the presences of each layer without gradient, at the last
            validation.
    """

    rows: list[Row]
    chosen: dict[str, tuple[int, Weights]]
    seconds: float
    diverged_at: int | None
    backends_used: tuple[str, ...]
    zero_gradient: dict[str, float]


class _Steps(Callback):
    """Reports the number of completed steps."""

    def __init__(self, on_step: Callable[[int], None]) -> None:
        self.on_step = on_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        if trainer.is_global_zero:
            self.on_step(trainer.global_step)


def train(
    build: Callable[[], Model],
    data: ImageDataModule,
    recipe: ProtocolRecipe,
    execution: Execution,
    *,
    seed: int,
    state: Path,
    profile: Path | None = None,
    loggers: list[Logger],
    on_step: Callable[[int], None],
    on_rows: Callable[[list[Row]], None],
    before_save: Callable[[], None] = lambda: None,
    follow: Sequence[SplitName] = (),
) -> TrainingResult:
    """Train a model, resuming from a saved state if there is one.

    Args:
        build: Builds the model; called with the random state of the seed.
        data: Data module with the recipe's batch size and the seed.
        recipe: Hyperparameters.
        execution: Device and settings; ``device`` must not be ``auto``.
        seed: Seed of the initial weights and of the model's random numbers.
        state: File of the resumable state.
        profile: Folder for a profile of some steps; None for no profile.
        loggers: Lightning loggers.
        on_step: Called with the number of completed steps.
        on_rows: Called with the trajectory when it has a new row.
        before_save: Called before the state is written; an error that it raises ends the training.
        follow: Test splits whose accuracy is logged in the trajectory; it selects no weights.

    Raises:
        UserError: The state is damaged, Lightning refuses the execution, or the number of processes
            is not the requested one.
        Stopped: A signal ended the training between two steps, after the state was saved.
    """
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    task = Task(build_initial(build, seed), recipe.task_recipe, seed=seed)
    use_backend(task.model, execution.backend)
    trajectory = Trajectory(
        data,
        every=recipe.evaluate_every,
        save_every=execution.checkpoint_every or recipe.evaluate_every,
        state=state,
        on_rows=on_rows,
        follow=follow,
    )
    try:
        trainer = make_trainer(
            accelerator=ACCELERATORS[execution.device],
            devices=execution.devices,
            num_nodes=execution.nodes,
            # One process meets no other; DDP alone would take the port of the environment.
            strategy=execution.strategy if execution.processes > 1 else "auto",
            precision=recipe.precision,
            max_steps=recipe.steps,
            max_epochs=-1,
            limit_val_batches=0,
            logger=loggers,
            log_every_n_steps=max(1, recipe.steps // LOGGED_STEPS),
            default_root_dir=state.parent,  # in SLURM, Lightning resumes from states that lie there
            # The profile first, so that it excludes a validation after its last step.
            callbacks=[
                *([Profile(profile)] if profile else []),
                trajectory,
                _Steps(on_step),
                *([LearningRateMonitor("step")] if loggers else []),
            ],
            plugins=[StateFile(before_save), _environment(execution)],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError) as error:
        raise UserError(f"Lightning refuses these settings: {error}") from None
    assert trainer.world_size == execution.processes  # else each would train alone
    diverged_at = None
    resume = state if state.is_file() else None
    if resume and not zipfile.is_zipfile(resume):
        raise UserError(f"{resume} is damaged; remove it to start the training again")
    try:
        with warnings.catch_warnings(), _raised_interrupts(), recorded_backends() as backends:
            # Lightning's advice on workers, logging and srun, and its own deprecations.
            warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
            trainer.fit(task, datamodule=data, ckpt_path=resume, weights_only=True)
    except Diverged as divergence:
        diverged_at = divergence.step
    data.trainer = None  # the group has ended: a later pass is not shared with its other processes
    return TrainingResult(
        rows=trajectory.rows,
        chosen=trajectory.chosen,
        seconds=trajectory.elapsed,
        diverged_at=diverged_at,
        backends_used=tuple(sorted(backends)),
        zero_gradient=trajectory.zero_gradient,
    )


def _environment(execution: Execution) -> ClusterEnvironment:
    """Return the place of this process among those that share the training.

    Lightning's own choice depends on the variables that it sees: in an allocation of SLURM it would
    wait for processes that nobody starts.

    Raises:
        UserError: The processes are not those of the execution.
    """
    group = require_processes(execution.devices, execution.nodes)
    return LightningEnvironment() if group is None else TorchElasticEnvironment()


@contextmanager
def _raised_interrupts() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt; Lightning's Trainer exits the process in its place."""
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise
