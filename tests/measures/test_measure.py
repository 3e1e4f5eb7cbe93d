"""Checks of the result of a measure."""

from typing import ClassVar, Literal

import pytest

from capsbench.errors import UserError
from capsbench.measures import Measure, MeasureConfig, MeasureContext, MeasureResult, ValueSpec
from capsbench.measures import _measure as measures
from capsbench.values import Quantity
from tests.measures.layered import Layered, NoiseImages


class Config(MeasureConfig):
    measure: Literal["own"]
    value: float

    @property
    def num_progress_steps(self):
        return 0


class Own(Measure[Config]):
    config = Config
    metrics: ClassVar = {
        "recovered": ValueSpec("A share.", "share"),
        "net_accuracy": ValueSpec("A number."),
    }

    @classmethod
    def compute(cls, config, model, data, context):
        values = [Quantity(metric=metric).with_value(config.value, 1) for metric in cls.metrics]
        return MeasureResult(values, {})


def run(value):
    config = Config(measure="own", value=value)
    return measures.run_measure(config, Layered().eval(), NoiseImages(), MeasureContext("cpu"))


@pytest.fixture(autouse=True)
def own_measure(monkeypatch):
    monkeypatch.setattr(measures, "load_measure", lambda name: Own)


@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_shares_are_within_0_and_1(value):
    with pytest.raises(UserError, match=r"recovered .* declares a share"):
        run(value)


def test_other_numbers_have_any_size(monkeypatch):
    assert len(run(1.0 + 1e-7).values) == 2  # rounding
    monkeypatch.setattr(Own, "metrics", {"net_accuracy": ValueSpec("A number.")})
    assert len(run(1.5).values) == 1
