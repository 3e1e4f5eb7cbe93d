"""A Task in the hands of a Lightning user: tuning, callbacks, checkpoints, loggers, resuming."""

import re

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import (
    EarlyStopping,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.plugins import MixedPrecision
from pytorch_lightning.tuner import Tuner
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from capsbench.errors import UserError
from capsbench.files.yaml import parse_yaml
from capsbench.names import find
from capsbench.training.recipe import ProtocolRecipe, Recipe
from capsbench.training.task import Task

EVALUATED = {"validation_loss", "validation_accuracy"}


@pytest.fixture
def digits():
    return find("datamodules", "digits").load()(batch_size=20, limit=100)


@pytest.fixture
def new_task(tiny_file):
    tiny = find("models", f"{tiny_file}:Tiny").load()

    def new_task(**recipe):
        torch.manual_seed(0)
        recipe = {"learning_rate": 0.01} | recipe
        return Task(tiny(image_shape=(1, 32, 32), num_classes=10), Recipe(**recipe), seed=3)

    return new_task


@pytest.fixture
def new_trainer(tmp_path):
    def new_trainer(**arguments):
        defaults = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        return Trainer(
            accelerator="cpu", enable_model_summary=False, default_root_dir=tmp_path,
            **(defaults | arguments),
        )  # fmt: skip

    return new_trainer


def weights_of(task):
    return {name: weight.clone() for name, weight in task.model.state_dict().items()}


def assert_same(weights, others):
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert torch.equal(weight, others[name]), name


@pytest.mark.parametrize("bound", [{"max_steps": 8}, {"max_epochs": 2, "limit_train_batches": 4}])
def test_the_trainer_has_the_number_of_steps(new_task, new_trainer, digits, bound):
    task = new_task(schedule="cosine", final_learning_rate=0.1)
    progress: list[float] = []
    task.model.advance = progress.append
    trainer = new_trainer(**bound)
    trainer.fit(task, datamodule=digits)
    assert trainer.global_step == 8
    assert progress == [step / 8 for step in range(8)]
    (rate,) = trainer.lr_scheduler_configs[0].scheduler.get_last_lr()
    assert rate == pytest.approx(0.01 * 0.1)
    assert task.progress == 1


@pytest.mark.parametrize("bound", [{"max_steps": 8}, {"max_epochs": 2, "limit_train_batches": 4}])
def test_the_first_steps_are_warmed_up(new_task, new_trainer, digits, bound):
    rates: list[float] = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    task = new_task(schedule="cosine", warmup=0.5, final_learning_rate=0.1)
    new_trainer(callbacks=[Rates()], **bound).fit(task, datamodule=digits)
    assert rates[:5] == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert len(rates) == 8


def test_a_schedule_needs_a_number_of_steps(new_task, new_trainer, digits):
    endless = {"max_time": {"seconds": 1}}
    for recipe, word in (({"schedule": "cosine"}, "'cosine'"), ({"warmup": 0.1}, "warm-up")):
        with pytest.raises(UserError, match=f"{word} needs the number of steps"):
            new_trainer(**endless).fit(new_task(**recipe), datamodule=digits)
    task = new_task()
    new_trainer(**endless, limit_train_batches=1).fit(task, datamodule=digits)
    assert task.progress == 0


class Stream(IterableDataset[tuple[torch.Tensor, int]]):
    def __iter__(self):
        return iter([(torch.zeros(1, 32, 32), 0)] * 4)


def test_a_schedule_refuses_a_loader_without_a_length(new_task, new_trainer):
    loader = DataLoader(Stream(), batch_size=2)
    for recipe, word in (({"schedule": "cosine"}, "'cosine'"), ({"warmup": 0.1}, "warm-up")):
        with pytest.raises(UserError, match=f"{word} needs .*whose length is known"):
            new_trainer(max_epochs=1).fit(new_task(**recipe), loader, loader)
    new_trainer(max_epochs=9, max_steps=2).fit(new_task(warmup=0.5), loader, loader)


def test_settings_of_the_protocol_are_refused(new_task):
    for name, place in {
        "steps": "max_steps",
        "batch_size": "data module",
        "precision": "Trainer",
        "limit": "data module",
    }.items():
        with pytest.raises(UserError, match=rf"'{name}' .*{place}"):
            Recipe(**{name: 1})
    protocol = ProtocolRecipe(steps=9, optimizer="sgd", weight_decay=0.1, batch_size=3)
    with pytest.raises(UserError, match=r"task_recipe .*max_steps"):
        Task(new_task().model, protocol)
    assert protocol.task_recipe == Recipe(optimizer="sgd", weight_decay=0.1)
    assert set(ProtocolRecipe.model_fields) - set(Recipe.model_fields) == {
        *("steps", "batch_size", "precision", "evaluate_every", "limit", "augmentation")
    }


def test_the_learning_rate_finder_sets_the_rate_and_leaves_the_training(
    new_task, new_trainer, digits
):
    task, plain = new_task(), new_task()
    trainer = new_trainer(max_steps=6)
    finder = Tuner(trainer).lr_find(
        task, datamodule=digits, num_training=20, update_attr=False, early_stop_threshold=None
    )
    assert finder and len(finder.results["loss"]) == 20
    trainer.fit(task, datamodule=digits)
    new_trainer(max_steps=6).fit(plain, datamodule=digits)
    assert_same(weights_of(task), weights_of(plain))

    tuned = new_task()
    finder = Tuner(new_trainer(max_steps=6)).lr_find(
        tuned, datamodule=digits, num_training=20, early_stop_threshold=None
    )
    assert finder and tuned.learning_rate == finder.suggestion() != 0.01
    assert tuned.hparams["recipe"]["learning_rate"] == tuned.learning_rate
    assert tuned.build_optimizer().param_groups[0]["lr"] == tuned.learning_rate


def test_the_finder_as_a_callback_changes_the_schedule(new_task, new_trainer, digits):
    task = new_task(schedule="cosine", warmup=0.5, final_learning_rate=0.1)
    finder = LearningRateFinder(num_training_steps=20, early_stop_threshold=None)
    trainer = new_trainer(max_steps=6, callbacks=[finder])
    rates: list[float] = []
    task.model.advance = lambda progress: rates.append(trainer.optimizers[0].param_groups[0]["lr"])
    trainer.fit(task, datamodule=digits)
    assert trainer.global_step == 6
    assert finder.optimal_lr and task.learning_rate == finder.optimal_lr.suggestion() != 0.01
    assert len(rates) == 20 + 6
    assert rates[0] == finder.optimal_lr.lr_min  # no warm-up of the finder's own steps
    shares = [rate / task.learning_rate for rate in rates[20:]]
    assert shares[:4] == pytest.approx([1 / 3, 2 / 3, 1, 1])
    (rate,) = trainer.lr_scheduler_configs[0].scheduler.get_last_lr()
    assert rate == pytest.approx(0.1 * task.learning_rate)


def test_the_batch_size_is_an_attribute(new_task, new_trainer, digits):
    digits.setup("fit")
    digits.batch_size = 7
    assert len(next(iter(digits.train_dataloader())).targets) == 7
    size = Tuner(new_trainer(max_steps=4)).scale_batch_size(
        new_task(), datamodule=digits, init_val=2, max_trials=3, steps_per_trial=1
    )
    assert size == digits.batch_size == 8
    assert len(next(iter(digits.train_dataloader())).targets) == 8


def test_callbacks_find_the_logged_metrics(new_task, new_trainer, digits, tmp_path):
    folder, name = tmp_path / "best", "{epoch}-{validation_accuracy:.3f}"
    best = ModelCheckpoint(folder, name, monitor="validation_accuracy", mode="max")
    stopping = EarlyStopping(monitor="validation_loss", patience=1, min_delta=100)
    logger = CSVLogger(tmp_path)
    callbacks = [best, stopping, LearningRateMonitor("step")]
    trainer = new_trainer(
        max_epochs=9, limit_train_batches=2, callbacks=callbacks, enable_checkpointing=True,
        logger=logger, log_every_n_steps=1,
    )  # fmt: skip
    task = new_task(schedule="exponential")
    trainer.fit(task, datamodule=digits)
    assert trainer.current_epoch == stopping.stopped_epoch + 1 == 2
    assert EVALUATED | {"train_loss"} <= set(trainer.callback_metrics)
    (saved,) = folder.iterdir()  # not in a folder that a slash would make
    assert re.fullmatch(r"epoch=[01]-validation_accuracy=0\.\d{3}\.ckpt", saved.name)
    assert best.best_model_score == pytest.approx(float(saved.stem[-5:]), abs=1e-3)
    trainer.test(task, datamodule=digits, verbose=False)
    assert {"test_loss", "test_accuracy"} == set(trainer.callback_metrics)
    header = (tmp_path / "lightning_logs/version_0/metrics.csv").read_text().splitlines()[0]
    assert {"learning_rate", "train_loss", "test_accuracy", *EVALUATED} <= set(header.split(","))
    shown = parse_yaml((tmp_path / "lightning_logs/version_0/hparams.yaml").read_text())
    assert shown == dict(task.hparams)
    assert shown["recipe"]["schedule"] == "exponential"
    assert shown["seed"] == 3


@pytest.mark.filterwarnings("ignore:SWA is currently only supported every epoch")
def test_weights_are_averaged(new_task, new_trainer, digits):
    averaging = StochasticWeightAveraging(0.01, swa_epoch_start=1, annealing_epochs=1)
    task, ends = new_task(), []

    class Ends(ModelCheckpoint):
        def on_train_epoch_end(self, trainer, pl_module):
            ends.append(weights_of(pl_module))

    trainer = new_trainer(
        max_epochs=3, limit_train_batches=2, callbacks=[averaging, Ends()],
        enable_checkpointing=True,
    )  # fmt: skip
    start = weights_of(task)
    trainer.fit(task, datamodule=digits)
    for name, weight in weights_of(task).items():  # at the starts of the three epochs
        expected = torch.stack([start[name], ends[0][name], ends[1][name]]).mean(0)
        torch.testing.assert_close(weight, expected)


@pytest.mark.parametrize("saving", [{"every_n_train_steps": 3}, {"every_n_train_steps": 4}, {}])
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_resumed_fit_has_the_bits_of_an_uninterrupted_one(
    new_task, new_trainer, digits, tmp_path, saving
):
    def fit(folder, **arguments):
        saver = ModelCheckpoint(tmp_path / folder, "{step}", save_top_k=-1, **saving)
        trainer = new_trainer(
            max_epochs=3, limit_train_batches=4, callbacks=[saver], enable_checkpointing=True
        )
        task = new_task(schedule="cosine", warmup=0.25)
        trainer.fit(task, datamodule=type(digits)(batch_size=20, limit=100), **arguments)
        assert trainer.global_step == 12
        return weights_of(task)

    whole = fit("whole")
    checkpoints = sorted((tmp_path / "whole").iterdir())
    assert len(checkpoints) >= 3
    for number, saved in enumerate(checkpoints):
        assert_same(fit(f"resumed {number}", ckpt_path=saved, weights_only=True), whole)


def test_reloaded_loaders_and_further_fits_continue_with_new_batches(new_task, new_trainer, digits):
    def numbers(*epochs, **arguments):
        task, indices = new_task(), []

        class Indices(Callback):
            def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
                indices.append(batch.index.tolist())

        trainer = new_trainer(limit_train_batches=2, callbacks=[Indices()], **arguments)
        for epoch in epochs:
            trainer.fit_loop.max_epochs = epoch
            trainer.fit(task, datamodule=digits)
        return indices

    expected = numbers(3)
    assert len(expected) == 6 and expected[0] != expected[2]
    assert numbers(3, reload_dataloaders_every_n_epochs=1) == expected
    assert numbers(1, 3) == expected


def test_repeated_batches_are_refused(new_task, new_trainer, digits):
    with pytest.raises(UserError, match=r"overfit_batches .*limit of images"):
        new_trainer(max_epochs=1, overfit_batches=1).fit(new_task(), datamodule=digits)


def test_predictions_are_those_of_the_test_images_in_order(new_task, new_trainer, digits):
    task = new_task().eval()
    predictions = new_trainer().predict(task, datamodule=digits)
    expected = [
        task.model(batch.images).scores for batch in digits.evaluation.batches("test", "cpu")
    ]
    torch.testing.assert_close(torch.cat([p.scores for p in predictions]), torch.cat(expected))
    assert predictions[0].poses is None
    assert not predictions[0].scores.requires_grad


def pairs(images, targets):
    return DataLoader(TensorDataset(images, targets), batch_size=10)


@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_a_loader_of_images_and_targets_trains(new_task, new_trainer, digits):
    task = new_task()
    split = digits.split("train")
    images, targets = split.images[:40].float() / 255, split.targets[:40]
    trainer = new_trainer(max_epochs=2)
    trainer.fit(task, pairs(images, targets), pairs(images, targets))
    assert trainer.global_step == 8
    (tested,) = trainer.validate(task, pairs(images, targets), verbose=False)
    accuracy = (task.model.eval()(images).scores.argmax(-1) == targets).float().mean()
    assert tested["validation_accuracy"] == pytest.approx(accuracy.item())
    predictions = trainer.predict(task, DataLoader(images, batch_size=10))
    assert torch.cat([p.scores for p in predictions]).shape == (40, 10)
    in_lists = trainer.predict(task, DataLoader(TensorDataset(images), batch_size=10))
    for one, other in zip(predictions, in_lists, strict=True):
        assert torch.equal(one.scores, other.scores)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ((torch.zeros(2, 1, 32, 32, dtype=torch.uint8), torch.zeros(2)), "got uint8 images"),
        ((torch.zeros(2, 32, 32), torch.zeros(2)), r"got float32 images \(2, 32, 32\)"),
        ({"images": torch.zeros(2, 1, 32, 32)}, "pair .* got dict"),
    ],
)
def test_other_batches_are_refused(new_task, batch, words):
    with pytest.raises(UserError, match=words):
        new_task().training_step(batch, 0)


def test_loaders_without_their_data_module_are_refused(new_task, new_trainer, digits):
    digits.setup("fit")
    with pytest.raises(UserError, match="datamodule=data"):
        new_trainer().validate(new_task(), digits.val_dataloader())


def test_scores_are_float32_under_autocast(new_task, new_trainer, digits):
    task = new_task()
    trainer = new_trainer(max_steps=5, precision="bf16-mixed")
    trainer.fit(task, datamodule=digits)
    task.model.loss = lambda prediction, batch, progress: prediction.scores.mean()  # bfloat16
    (tested,) = trainer.test(task, datamodule=digits, verbose=False)
    losses, hits = [], []
    for batch in digits.evaluation.batches("test", "cpu"):
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            prediction = task.model.eval()(batch.images)
            assert prediction.scores.mean().dtype == torch.bfloat16
            assert task.score(batch).loss.dtype == torch.float32
        losses.append(prediction.scores.mean().item())
        hits.append(prediction.scores.argmax(-1) == batch.targets)
    assert tested["test_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    assert tested["test_accuracy"] == torch.cat(hits).float().mean()
    assert trainer.callback_metrics["test_loss"].dtype == torch.float32


@pytest.mark.parametrize("precision", ["16-true", "bf16-true", "64-true"])
def test_other_weights_than_float32_are_refused(new_task, new_trainer, digits, precision):
    with pytest.raises(UserError, match=rf"float32.*'{precision}'.*bf16-mixed"):
        new_trainer(max_steps=1, precision=precision).fit(new_task(), datamodule=digits)


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed", "32-true"])
def test_gradients_are_clipped_in_any_precision(new_task, new_trainer, digits, precision):
    scaler = {"plugins": [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))]}
    mixed = scaler if precision == "16-mixed" else {"precision": precision}
    trainer = new_trainer(max_steps=2, gradient_clip_val=1e-3, **mixed)
    trainer.fit(new_task(), datamodule=digits)
    assert trainer.global_step == 2


def test_random_numbers_differ_by_step_by_batch_within_it_and_by_process(
    new_task, new_trainer, digits, monkeypatch
):
    def seeds(rank, **arguments):
        task, drawn = new_task(), []
        monkeypatch.setattr(Task, "global_rank", rank)
        task.model.advance = lambda progress: drawn.append(torch.initial_seed())
        new_trainer(max_epochs=1, limit_train_batches=4, **arguments).fit(task, datamodule=digits)
        return drawn

    whole, accumulated, other = seeds(0), seeds(0, accumulate_grad_batches=2), seeds(1)
    assert len({*whole, *accumulated, *other}) == 4 + 2 + 4
    assert accumulated[::2] == whole[:2]


@pytest.mark.parametrize(
    ("wrap", "words"),
    [
        (lambda model: torch.compile(model, backend="eager"), "compiled model .*compile the task"),
        (torch.nn.DataParallel, "DataParallel .*devices to the Trainer"),
        (Task, "got a Task"),
        (type, "expected a model, got .*create_model"),
        (lambda model: "cnn-small", "expected a model, got 'cnn-small'.*create_model"),
    ],
)
def test_wrapped_models_and_names_are_refused(new_task, wrap, words):
    model = new_task().model
    with pytest.raises(UserError, match=words):
        Task(wrap(model))
