"""The Trainer of a training has the settings that it is given, and no others."""

from typing import Any

from pytorch_lightning import Trainer

from capsbench.training.trainer import make_trainer


def test_variables_change_nothing(monkeypatch):
    given: dict[str, Any] = {"logger": False, "accelerator": "cpu", "enable_checkpointing": False}
    monkeypatch.setenv("PL_TRAINER_ACCUMULATE_GRAD_BATCHES", "3")
    monkeypatch.setenv("PL_TRAINER_GRADIENT_CLIP_VAL", "1e-9")
    monkeypatch.setenv("PL_TRAINER_LIMIT_TRAIN_BATCHES", "abc")
    trainer = make_trainer(**given)
    assert trainer.accumulate_grad_batches == 1
    assert trainer.gradient_clip_val is None
    monkeypatch.delenv("PL_TRAINER_LIMIT_TRAIN_BATCHES")
    assert Trainer(**given).accumulate_grad_batches == 3  # a user's own Trainer
