"""Task: the LightningModule that trains any model."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric, MetricCollection

from capsbench.contracts import Batch, Model, Prediction, class_recall
from capsbench.data.randomness import derive
from capsbench.training.recipe import Recipe
from capsbench.training.schedule import learning_rate_factor

SPLITS = ("validation", "test")
FUSED_DEVICES = ("cpu", "cuda", "mps")  # devices with fused optimizers in torch


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
    """Trains a model by a recipe; ``Trainer(max_steps=recipe.steps).fit(task, datamodule)`` works.

    Before each step the global random state is set from (seed, step, process), so that dropout and
    other random layers draw the same numbers in a resumed training as in an uninterrupted one.

    Args:
        model: The model.
        recipe: Optimizer, schedule, and the number of steps that progress is relative to.
        seed: Seed of the model's random numbers during training.
    """

    def __init__(self, model: Model, recipe: Recipe, *, seed: int = 0) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.seed = seed
        names = [f"{split}/{score}" for split in SPLITS for score in ("loss", "accuracy")]
        self.metrics = MetricCollection(
            {name: MeanMetric() for name in names}, compute_groups=False
        )
        self.first_nonfinite_step: Tensor | None = None

    @property
    def progress(self) -> float:
        """Completed share of the training, in [0, 1]."""
        return min(1.0, self.global_step / self.recipe.steps)

    def forward(self, images: Tensor) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        prediction: Prediction = self.model(images)
        return prediction

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the random state of the step and the model's progress."""
        torch.manual_seed(derive(self.seed, "step", self.global_step, self.global_rank))
        self.model.advance(self.progress)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self.model.loss(self.model(batch.images), batch, self.progress)
        self._record_nonfinite(loss.detach())
        self.log("train/loss", loss.detach())
        return loss

    def score(self, batch: Batch) -> Scores:
        """Return loss and number of correct predictions of a batch."""
        prediction = self.model(batch.images)
        loss = self.model.loss(prediction, batch, self.progress).float() * len(batch.images)
        recall = class_recall(self.model.log_probabilities(prediction), batch.targets)
        return Scores(loss, (recall == 1).sum(), len(batch.images))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss and accuracy on the validation images."""
        self._log_scores("validation", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss and accuracy on the test images."""
        self._log_scores("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        """Classify a batch."""
        return self(batch.images)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and the per-step schedule of the recipe."""
        schedule = LambdaLR(
            optimizer := self._optimizer(), lambda step: learning_rate_factor(self.recipe, step)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _log_scores(self, split: str, batch: Batch) -> None:
        scores = self.score(batch)
        for name, total in (("loss", scores.loss), ("accuracy", scores.correct)):
            metric = self.metrics[f"{split}/{name}"]
            metric.update(total / scores.images, weight=scores.images)
            self.log(f"{split}/{name}", metric)

    def _optimizer(self) -> Optimizer:
        recipe, weights = self.recipe, list(self.model.parameters())
        rate, decay = recipe.learning_rate, recipe.weight_decay
        # The same update in one pass over memory.
        fused = True if all(w.device.type in FUSED_DEVICES for w in weights) else None
        match recipe.optimizer:
            case "adam":
                return Adam(weights, lr=rate, weight_decay=decay, fused=fused)
            case "adamw":
                return AdamW(weights, lr=rate, weight_decay=decay, fused=fused)
            case "sgd":
                return SGD(weights, lr=rate, weight_decay=decay, momentum=0.9, fused=fused)

    def _record_nonfinite(self, loss: Tensor) -> None:
        """Record the first step with a non-finite loss on the device, without synchronization."""
        if self.first_nonfinite_step is None:
            maximum = torch.iinfo(torch.int64).max
            self.first_nonfinite_step = torch.full((), maximum, device=self.device)
        step = torch.where(loss.isfinite(), self.first_nonfinite_step, self.global_step + 1)
        self.first_nonfinite_step = torch.minimum(self.first_nonfinite_step, step)
