"""Batches of no image and of a single one, as users' loaders and many processes make them."""

import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn
from torch.utils.data import DataLoader

from capsbench.contracts import Batch
from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError
from capsbench.names import find
from capsbench.training.recipe import Recipe
from capsbench.training.task import Task
from capsbench.viewpoint.views import Views
from capsbench.wrapping import LogitsModel


def wrapped(*layers):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), *layers)
    return LogitsModel(module, image_shape=(1, 6, 6), num_classes=4)


@pytest.fixture
def trainer(tmp_path):
    return Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )


def pairs(*sizes):
    images = torch.rand(sum(sizes), 1, 6, 6, generator=torch.manual_seed(1))
    targets = torch.arange(sum(sizes)) % 4
    batches = list(zip(images.split(sizes), targets.split(sizes), strict=True))
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]  # a list is a data set


def test_a_training_batch_without_images_is_refused(trainer):
    with pytest.raises(UserError, match="images in every training batch, got none"):
        trainer.fit(Task(wrapped()), pairs(3, 0), pairs(2))


def test_batch_normalization_of_one_image_is_refused(trainer):
    with pytest.raises(UserError, match=r"normalization needs more than one .*drop_last"):
        trainer.fit(Task(wrapped(nn.BatchNorm1d(4))), pairs(3, 1), pairs(2))


@pytest.mark.parametrize(("size", "layers"), [(3, [nn.BatchNorm1d(4)]), (1, [])])
def test_other_errors_of_a_model_stay_what_they_are(trainer, size, layers):
    class Faulty(nn.Module):
        def forward(self, images):
            if self.training:
                raise ValueError("a bug")
            return images

    task = Task(wrapped(*layers, Faulty()))
    with pytest.raises(ValueError, match="a bug"):
        trainer.fit(task, pairs(size, 1), pairs(2))


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(optimizer="sgd", weight_decay=0.1)])
def test_one_image_without_batch_normalization_is_a_batch(trainer, recipe):
    trainer.fit(Task(wrapped(), recipe), pairs(1, 1), pairs(2))
    assert trainer.global_step == 2


@pytest.mark.parametrize("evaluate", ["test", "validate"])
def test_evaluation_does_not_depend_on_the_batches(trainer, evaluate):
    task = Task(wrapped())
    score = getattr(trainer, evaluate)
    ((first, *_), (other, *_)) = (
        score(task, pairs(*sizes), verbose=False) for sizes in ((7,), (3, 0, 3, 1, 0))
    )
    assert first == pytest.approx(other, rel=1e-6)
    with pytest.raises(UserError, match="batches, got none"):
        score(task, pairs(0, 0), verbose=False)


@pytest.mark.parametrize("name", ["capsnet-em", "transforming-autoencoder", "resnet20"])
def test_a_process_without_images_adds_nothing(name):
    model = find("models", name).load()(image_shape=(1, 28, 28), num_classes=4)
    empty = torch.zeros(0, dtype=torch.long)
    batch = Batch(torch.zeros(0, 1, 28, 28), empty, Views.identity(0), empty)
    scores = Task(model).score(batch)
    assert (float(scores.loss), int(scores.correct), scores.images) == (0, 0, 0)


@pytest.mark.parametrize(
    "numbers", [{"limit": 0}, {"limit": -1}, {"per_class": 0}, {"batch_size": 0}]
)
def test_numbers_of_images_are_above_zero(numbers):
    digits = find("datamodules", "digits").load()
    assert issubclass(digits, ImageDataModule)
    (name,) = numbers
    with pytest.raises(UserError, match=f"{name} of a data module is above 0"):
        digits(**numbers)


def test_a_limit_below_the_number_of_classes_keeps_one_image_of_as_many_classes():
    data = find("datamodules", "digits").load()(limit=3)
    assert [len(data.split(name).targets.unique()) for name in ("train", "test")] == [3, 3]
