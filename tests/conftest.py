"""Fixtures of several folders: a tiny model, and a protocol that runs in a second."""

import pytest
import torch

from capsbench.executors.here import Here
from capsbench.names import table
from capsbench.running.run_job import run_request
from capsbench.schema import Benchmark
from capsbench.trusted_code import trust

TINY = '''
"""A model for tests."""

from torch import nn
from torch.nn.functional import cross_entropy

from capsbench.contracts import Model, Prediction


class Tiny(Model):
    """A linear classifier behind dropout.

    Args:
        rate: Dropout rate.
        explode: Make the loss infinite half-way.
    """

    def __init__(self, *, image_shape, num_classes, rate: float = 0.2, explode: bool = False):
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        channels, height, width = image_shape
        self.explode = explode
        self.body = nn.Sequential(
            nn.AvgPool2d(4),
            nn.Flatten(),
            nn.Dropout(rate),
            nn.Linear(channels * (height // 4) * (width // 4), num_classes),
        )

    def forward(self, images, views=None):
        return Prediction(self.body(images))

    def loss(self, prediction, batch, progress):
        loss = cross_entropy(prediction.scores.float(), batch.targets)
        return loss / 0 if self.explode and progress >= 0.5 else loss
'''


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory):
    """A file of a user's own model."""
    path = tmp_path_factory.mktemp("models") / "tiny.py"
    path.write_text(TINY)
    trust(f"{path}:Tiny")  # as if it lay beside every file that names it
    return path


@pytest.fixture
def new_package():
    """Let a package that the test installs be seen, whose names a process reads once."""
    table.cache_clear()
    yield
    table.cache_clear()


@pytest.fixture
def tiny_protocol(tiny_file):
    """A benchmark of two tiny cells on few digits, as a mapping."""
    return {
        "name": "tiny",
        "version": 1,
        "title": "Tiny",
        "question": "Does it run?",
        "source": "a test",
        "data": {"name": "digits"},
        "views": {"rotation": [-15, 15]},
        "models": [{"name": f"{tiny_file}:Tiny", "label": "Tiny"}],
        "recipe": {
            "steps": 12,
            "batch_size": 32,
            "learning_rate": 0.01,
            "evaluate_every": 4,
            "limit": 100,
        },
        "seeds": [0, 1],
        "measures": [
            {
                "measure": "accuracy-by-view",
                "grid": {"rotation": {"start": -90, "stop": 90, "step": 90}},
            }
        ],
    }


@pytest.fixture
def tiny_benchmark(tiny_protocol):
    """The same, checked."""
    return Benchmark.model_validate(tiny_protocol)


def _here(template, room, workers):
    """Return an executor of this process in place of a pool."""
    return Here(run_request, template.command)


@pytest.fixture(autouse=True)
def jobs_in_this_process(monkeypatch):
    """A run carries out its jobs here, where a test can change their code, without the seconds
    that worker processes need for their imports. Tests of pools make one themselves."""
    monkeypatch.setattr("capsbench.running.carry_out.LocalPool", _here)
    monkeypatch.setattr("capsbench.cli.run._has_page", lambda *_: True)  # no template is started


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors are fastest on one thread, and bits do not depend on the machine's cores."""
    torch.set_num_threads(1)
