"""The task: the LightningModule that trains any model."""

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
FUSED_DEVICES = ("cpu", "cuda", "mps")  # where torch has kernels for the whole of an update


class Scores(NamedTuple):
    """How a batch went: sums, so that batches of any size add up.

    Attributes:
        loss: () summed over the images.
        correct: () number of images whose likeliest class is the target, or classes are.
        images: Number of images.
    """

    loss: Tensor
    correct: Tensor
    images: int


class Task(LightningModule):
    """Trains a model by a recipe; ``Trainer(max_steps=recipe.steps).fit(task, datamodule)`` works.

    Before each step the global random state is set from (seed, step, process), so that dropout and
    its like draw the same in a resumed training as in an undisturbed one.

    Args:
        model: The model.
        recipe: Optimizer, schedule, and the number of steps against which progress is told.
        seed: Seed of whatever the model draws while it trains.
    """

    def __init__(self, model: Model, recipe: Recipe, *, seed: int = 0) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.seed = seed
        names = [f"{split}/{what}" for split in SPLITS for what in ("loss", "accuracy")]
        self.metrics = MetricCollection(
            {name: MeanMetric() for name in names}, compute_groups=False
        )
        self.first_bad_step: Tensor | None = None

    @property
    def progress(self) -> float:
        """Share of the training that is over, in [0, 1]."""
        return min(1.0, self.global_step / self.recipe.steps)

    def forward(self, images: Tensor) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        prediction: Prediction = self.model(images)
        return prediction

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the random state of the step and tell the model the progress."""
        torch.manual_seed(derive(self.seed, "step", self.global_step, self.global_rank))
        self.model.advance(self.progress)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        loss = self.model.loss(self.model(batch.images), batch, self.progress)
        self._note_first_bad(loss.detach())
        self.log("train/loss", loss.detach())
        return loss

    def score(self, batch: Batch) -> Scores:
        """Loss and hits on a batch, without gradient, in evaluation mode."""
        prediction = self.model(batch.images)
        loss = self.model.loss(prediction, batch, self.progress).float() * len(batch.images)
        found = class_recall(self.model.log_probabilities(prediction), batch.targets)
        return Scores(loss, (found == 1).sum(), len(batch.images))

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
        """Optimizer and per-step schedule of the recipe."""
        schedule = LambdaLR(
            optimizer := self._optimizer(), lambda step: learning_rate_factor(self.recipe, step)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _log_scores(self, split: str, batch: Batch) -> None:
        scores = self.score(batch)
        for what, total in (("loss", scores.loss), ("accuracy", scores.correct)):
            metric = self.metrics[f"{split}/{what}"]
            metric.update(total / scores.images, weight=scores.images)
            self.log(f"{split}/{what}", metric)

    def _optimizer(self) -> Optimizer:
        recipe, weights = self.recipe, list(self.model.parameters())
        rate, decay = recipe.learning_rate, recipe.weight_decay
        # The same mathematics, in one pass through memory.
        fused = True if all(w.device.type in FUSED_DEVICES for w in weights) else None
        match recipe.optimizer:
            case "adam":
                return Adam(weights, lr=rate, weight_decay=decay, fused=fused)
            case "adamw":
                return AdamW(weights, lr=rate, weight_decay=decay, fused=fused)
            case "sgd":
                return SGD(weights, lr=rate, weight_decay=decay, momentum=0.9, fused=fused)

    def _note_first_bad(self, loss: Tensor) -> None:
        """Keep the first step with a non-finite loss, on the device: no step waits for it."""
        if self.first_bad_step is None:
            self.first_bad_step = torch.full((), torch.iinfo(torch.int64).max, device=self.device)
        bad = torch.where(loss.isfinite(), self.first_bad_step, self.global_step + 1)
        self.first_bad_step = torch.minimum(self.first_bad_step, bad)
