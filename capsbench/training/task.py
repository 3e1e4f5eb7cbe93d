"""Task: the LightningModule that trains any model."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric, MetricCollection

from capsbench.contracts import Batch, ImageShape, Model, Prediction, class_recall
from capsbench.data.images import ImageDataModule
from capsbench.data.lightning import attach
from capsbench.data.pairs import as_batch
from capsbench.data.randomness import derive
from capsbench.errors import UserError
from capsbench.training.hyperparameters import plain_hyperparameters, restored_model
from capsbench.training.recipe import ProtocolRecipe, Recipe
from capsbench.training.schedule import learning_rate_factor
from capsbench.wrapping import LogitsModel
from capsbench.wrapping.compiled import is_compiled

attach()  # a LightningCLI takes classes of LightningDataModules only

SPLITS = ("validation", "test")
FUSED_DEVICES = ("cpu", "cuda", "mps")  # devices with fused optimizers in torch
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")  # with weights and images in float32
DEFAULT_RECIPE = Recipe()


class Scores(NamedTuple):
    """Scores of a batch as sums over its images, so that batches of any size add up.

    Attributes:
        loss: () sum of the loss over the images.
        correct: () number of images whose target classes are exactly the predicted ones.
        images: Number of images.
    """

    loss: Tensor
    correct: Tensor
    images: int


class Task(LightningModule):
    """Trains a model: ``Trainer(max_steps=200).fit(Task(model), datamodule=data)``.

    The Trainer has the number of steps, the devices and the precision, and the data module the
    batch size. Batches are those of an `ImageDataModule`, or pairs (images, targets) of any loader.
    The logged metrics are ``train_loss``, ``validation_loss``, ``validation_accuracy``,
    ``test_loss`` and ``test_accuracy``. Model, recipe and seed are saved as plain
    hyperparameters, from which `load_from_checkpoint` builds the task.

    Before each batch the global random state is set from (seed, step, process), and the number of
    the batch within its step, so that dropout and other random layers draw the same numbers in a
    resumed training as in an uninterrupted one.

    Args:
        model: A `Model`, or any module from images to logits.
        recipe: Optimizer and learning rate.
        seed: Seed of the model's random numbers during training.

    Raises:
        UserError: The recipe is that of a protocol; or the model is no module, or a compiled or
            parallel one, or another task.
    """

    def __init__(self, model: nn.Module, recipe: Recipe = DEFAULT_RECIPE, *, seed: int = 0) -> None:
        super().__init__()
        if isinstance(recipe, ProtocolRecipe):
            raise UserError(
                "expected a Recipe, got the recipe of a protocol; give its task_recipe to the "
                "Task, its steps and precision to the Trainer (max_steps, precision), and its "
                "batch_size, limit and augmentation to the data module"
            )
        # A plain module becomes a Model in `setup`, before it is used as one.
        self.model: Any = restored_model(model)
        _require_bare(self.model)
        self.recipe = Recipe.model_validate(recipe)
        self.seed = seed
        self.save_hyperparameters(plain_hyperparameters(self.model, self.recipe, seed))
        names = [f"{split}_{score}" for split in SPLITS for score in ("loss", "accuracy")]
        self.metrics = MetricCollection(
            {name: MeanMetric() for name in names}, compute_groups=False
        )
        self.first_nonfinite_step: Tensor | None = None
        self._last_progress = 0.0

    def setup(self, stage: str) -> None:
        """Wrap a plain module as a `LogitsModel` for the images and classes of the data.

        Raises:
            UserError: The module does not fit them, or there is no data module that states them; or
                the Trainer changes the precision of weights and images.
        """
        if self.trainer.precision not in PRECISIONS:
            raise UserError(
                f"images and weights are float32, but the Trainer has precision "
                f"'{self.trainer.precision}'; choose one of {', '.join(PRECISIONS)}"
            )
        if isinstance(self.model, Model):
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # set outside of the class
        if not isinstance(data, ImageDataModule):
            raise UserError(
                f"{type(self.model).__name__} is no capsbench.contracts.Model; give the Trainer an "
                "ImageDataModule, or wrap the module: LogitsModel(module, image_shape=..., "
                "num_classes=...)"
            )
        self._wrap_module(data.image_shape, data.num_classes)

    @property
    def learning_rate(self) -> float:
        """Initial learning rate of the recipe; Lightning's finder sets it."""
        return self.recipe.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.recipe = self.recipe.model_copy(update={"learning_rate": value})
        self.hparams["recipe"]["learning_rate"] = value

    @property
    def steps(self) -> float:
        """Number of optimizer steps of the trainer; infinite if it has no bound.

        It is not known before the first step: if Lightning computed it earlier, it would not
        restore the order of batches of a resumed training.
        """
        steps = self.trainer.estimated_stepping_batches
        return steps if steps > 0 else math.inf

    @property
    def progress(self) -> float:
        """Completed share of the training, in [0, 1]; outside of one, that of the last one."""
        if self._trainer is None or self.trainer.state.fn != TrainerFn.FITTING:
            return self._last_progress
        return min(1.0, self.global_step / self.steps) if self.global_step else 0.0

    def forward(self, images: Tensor) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        prediction: Prediction = self.model(images)
        return prediction

    def on_train_start(self) -> None:
        """Set the learning rate of the first step, now that the number of steps is known.

        Raises:
            UserError: The schedule or warm-up needs a number of steps, and the Trainer has none.
        """
        recipe = self.recipe
        if recipe.schedule == "constant" and not recipe.warmup:
            return
        if math.isinf(self.steps):
            what = "warm-up" if recipe.warmup else f"schedule '{recipe.schedule}'"
            raise UserError(
                f"the {what} needs the number of steps; give the Trainer max_steps, or max_epochs "
                "and a loader whose length is known"
            )
        schedule = self.lr_schedulers()
        if self.global_step == 0 and isinstance(schedule, LambdaLR):  # not that of a rate finder
            rate = self.learning_rate * learning_rate_factor(recipe, 0, self.steps)
            for group in schedule.optimizer.param_groups:
                group["lr"] = rate

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Set the random state of the batch and the model's progress."""
        names: list[int | str] = ["step", self.global_step, self.global_rank]
        # The batches of a step, if gradients are accumulated, draw different numbers.
        if number := batch_idx % self.trainer.accumulate_grad_batches:
            names.append(number)
        torch.manual_seed(derive(self.seed, *names))
        self._last_progress = self.progress
        self.model.advance(self._last_progress)

    def training_step(self, batch: object, batch_idx: int) -> Tensor:
        """Return the loss of a batch.

        Raises:
            UserError: The batch has no image: momentum and weight decay alone would change the
                weights. Or it has one, and batch normalization needs more.
        """
        images = as_batch(batch)
        if not len(images.images):
            raise UserError("expected images in every training batch, got none; leave it out")
        try:
            prediction = self.model(images.images)
        except ValueError as error:
            normalized = any(
                isinstance(each, _BatchNorm) and each.training for each in self.modules()
            )
            if len(images.images) > 1 or not normalized:
                raise
            raise UserError(
                "the model's batch normalization needs more than one image in every training "
                f"batch, got 1 ({error}); raise batch_size, or give the loader drop_last=True"
            ) from error
        loss = self.model.loss(prediction, images, self.progress)
        self._record_nonfinite(loss.detach())
        self.log("train_loss", loss.detach().float())
        return loss

    def on_train_end(self) -> None:
        """Keep the progress for evaluations after the training."""
        self._last_progress = self.progress

    def score(self, batch: Batch) -> Scores:
        """Return loss and number of correct predictions of a batch, which may have no image."""
        if not len(batch.images):  # a process without a share of the last images
            return Scores(
                torch.zeros((), device=self.device), torch.tensor(0, device=self.device), 0
            )
        prediction = self.model(batch.images)
        loss = self.model.loss(prediction, batch, self.progress).float() * len(batch.images)
        recall = class_recall(self.model.logits(prediction), batch.targets)
        return Scores(loss, (recall == 1).sum(), len(batch.images))

    def validation_step(self, batch: object, batch_idx: int) -> None:
        """Log loss and accuracy on the validation images."""
        self._log_scores("validation", as_batch(batch))

    def test_step(self, batch: object, batch_idx: int) -> None:
        """Log loss and accuracy on the test images."""
        self._log_scores("test", as_batch(batch))

    def on_validation_epoch_end(self) -> None:
        """Refuse a validation of no image, whose mean loss is undefined."""
        self._require_images("validation")

    def on_test_epoch_end(self) -> None:
        """Refuse a test of no image."""
        self._require_images("test")

    def predict_step(self, batch: object, batch_idx: int) -> Prediction:
        """Classify a batch, or images (B, C, H, W) alone, also in a list of this one tensor."""
        match batch:
            case Tensor() as images:
                return self(images)
            case [Tensor() as images]:
                return self(images)
        return self(as_batch(batch).images)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and the per-step schedule of the recipe."""
        recipe, initial = self.recipe, self.learning_rate

        def factor(step: int) -> float:
            # A finder that is a callback changes the learning rate after the schedule is made.
            change = self.learning_rate / initial
            return change * learning_rate_factor(recipe, step, self.steps) if step else change

        schedule = LambdaLR(optimizer := self.build_optimizer(), factor)
        return {
            "optimizer": optimizer,
            # The name is that of the curve of a LearningRateMonitor.
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "learning_rate"},
        }

    def build_optimizer(self) -> Optimizer:
        """Return the optimizer of the recipe, at the initial learning rate."""
        recipe, weights = self.recipe, list(self.model.parameters())
        rate, decay = recipe.learning_rate, recipe.weight_decay
        # The same update in one pass over memory. Lightning clips no scaled gradients of it.
        clipped = self._trainer is not None and self.trainer.gradient_clip_val
        fusible = not clipped and all(w.device.type in FUSED_DEVICES for w in weights)
        fused = True if fusible else None
        match recipe.optimizer:
            case "adam":
                return Adam(weights, lr=rate, weight_decay=decay, fused=fused)
            case "adamw":
                return AdamW(weights, lr=rate, weight_decay=decay, fused=fused)
            case "sgd":
                return SGD(weights, lr=rate, weight_decay=decay, momentum=0.9, fused=fused)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the progress, on which the loss of some models depends, and the kind of images."""
        checkpoint["progress"] = self.progress
        checkpoint["images"] = [list(self.model.image_shape), self.model.num_classes]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the progress, and wrap a plain module as it was wrapped for training."""
        self._last_progress = checkpoint["progress"]
        if not isinstance(self.model, Model):
            image_shape, num_classes = checkpoint["images"]
            self._wrap_module(tuple(image_shape), num_classes)

    def _wrap_module(self, image_shape: ImageShape, num_classes: int) -> None:
        self.model = LogitsModel(self.model, image_shape=image_shape, num_classes=num_classes)

    def _log_scores(self, split: str, batch: Batch) -> None:
        scores = self.score(batch)
        for name, total in (("loss", scores.loss), ("accuracy", scores.correct)):
            metric = self.metrics[f"{split}_{name}"]
            metric.update(total / max(scores.images, 1), weight=scores.images)
            self.log(f"{split}_{name}", metric)

    def _require_images(self, split: str) -> None:
        metric = self.metrics[f"{split}_accuracy"]
        if metric.update_called and metric.compute().isnan():  # 0 / 0, over all processes
            raise UserError(
                f"expected images in the {split} batches, got none: a mean over none is undefined"
            )

    def _record_nonfinite(self, loss: Tensor) -> None:
        """Record the first step with a non-finite loss on the device, without synchronization."""
        if self.first_nonfinite_step is None:
            maximum = torch.iinfo(torch.int64).max
            self.first_nonfinite_step = torch.full((), maximum, device=self.device)
        step = torch.where(loss.isfinite(), self.first_nonfinite_step, self.global_step + 1)
        self.first_nonfinite_step = torch.minimum(self.first_nonfinite_step, step)


def _require_bare(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise UserError(
            f"expected a model, got {model!r}; build one: capsbench.create_model(name, "
            "image_shape=data.image_shape, num_classes=data.num_classes)"
        )
    parallel = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
    if parallel or isinstance(model, Task) or is_compiled(model):
        kind = "compiled model" if is_compiled(model) else type(model).__name__
        raise UserError(
            f"expected the model itself, got a {kind} of it; make Task(model), then compile the "
            "task, and give the number of devices to the Trainer"
        )
