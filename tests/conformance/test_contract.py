"""Each violation of the contract fails its check with a useful message."""

import random
import re

import numpy as np
import pytest
import torch
from torch import nn

from capsbench.conformance import learning, prediction, transformations
from capsbench.conformance.contract import CHECKS, check_contract, run_check
from capsbench.conformance.subject import Subject
from capsbench.contracts import Prediction
from tests.conformance import (
    construction_faults,
    execution_faults,
    learning_faults,
    prediction_faults,
    transformation_faults,
)
from tests.conformance.sound import Sound

FAULTS = [
    *construction_faults.FAULTS,
    *prediction_faults.FAULTS,
    *learning_faults.FAULTS,
    *execution_faults.FAULTS,
    *transformation_faults.FAULTS,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_sound_model_passes(check):
    result = run_check(check, Subject(Sound))
    assert (result.status, result.traceback) == ("passed", ""), result.detail
    assert result.sentence.endswith(".")


@pytest.mark.parametrize(
    ("check", "cls", "message"),
    FAULTS,
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_a_violation_fails_with_a_message(check, cls, message):
    result = run_check(check, Subject(cls))
    assert result.status == "failed"
    assert "\n" not in result.detail
    assert re.search(message, result.detail), result.detail


def test_every_check_has_a_model_that_fails_it():
    assert {check for check, _, _ in FAULTS} == set(CHECKS)


def test_no_check_runs_after_a_fundamental_check_fails():
    (constructor,) = check_contract(Subject(construction_faults.Raises))
    assert constructor.status == "failed"
    assert "Traceback" in constructor.traceback and "KeyError" in constructor.traceback
    results = list(check_contract(Subject(prediction_faults.OneClassMore)))
    assert [result.status for result in results] == ["passed", "failed"]


def test_an_exit_in_forward_is_a_failure():
    class Leaves(Sound):
        def forward(self, images, views=None):
            raise SystemExit(3)

    result = run_check(prediction.forward, Subject(Leaves))
    assert (result.status, result.detail[:13]) == ("failed", "SystemExit: 3")


def test_weights_without_gradient_are_counted():
    class HalfUsed(Sound):
        def __init__(self, *, image_shape, num_classes):
            super().__init__(image_shape=image_shape, num_classes=num_classes)
            self.offsets = nn.Parameter(torch.zeros(1000))

        def forward(self, images, views=None):
            scores = super().forward(images).scores
            return Prediction(scores + self.offsets[:10])

    sound, half = (run_check(learning.gradients, Subject(cls)) for cls in (Sound, HalfUsed))
    assert (sound.status, half.status) == ("passed", "passed")
    assert "0 of them (0.0%)" in sound.detail
    assert " 990 of them" in half.detail


def test_a_unit_that_is_active_for_some_images_passes():
    class SometimesActive(Sound):
        """Its offset is only used for one of the drawn images."""

        def __init__(self, *, image_shape, num_classes):
            super().__init__(image_shape=image_shape, num_classes=num_classes)
            self.offset = nn.Parameter(torch.zeros(()))

        def forward(self, images, views=None):
            (chosen,) = Subject(Sound).draw(1, seed=2).images
            active = (images == chosen).flatten(1).all(dim=1, keepdim=True)
            shift = self.offset * torch.eye(self.num_classes)[0]
            return Prediction(super().forward(images).scores + active * shift)

    assert run_check(learning.gradients, Subject(SometimesActive)).status == "passed"


@pytest.mark.parametrize(
    "check", [prediction.layers_of_interest, transformations.declared_transformations]
)
def test_layers_of_interest_are_optional(check):
    class Plain(Sound):
        def layers_of_interest(self):
            return {}

    assert run_check(check, Subject(Plain)).status == "not applicable"


def test_checks_preserve_the_random_state():
    torch.manual_seed(99)
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    for check in CHECKS:
        run_check(check, Subject(construction_faults.OtherRandomness))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert str(np.random.get_state()) == before[2]  # noqa: NPY002
