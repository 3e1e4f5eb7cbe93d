"""The untrained control: the same measure of another network, under a condition of its own."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsbench.data.images import ImageDataModule
from capsbench.measures import (
    MeasureContext,
    MeasureResult,
    load_measure,
    parse_config,
    run_measure,
)
from capsbench.measures._untrained_control import UNKNOWN, with_control
from capsbench.names import table
from capsbench.values import Quantity
from tests.measures.constructed import POSES, Equivariant, Figures, Untrained

TURN = {"rotation": {"start": 0, "stop": 30, "step": 30}}
CONTROLLED = {
    "invariance-error": {"grid": TURN, "images": 60},
    "spatial-equivariance": {"grid": TURN, "images": 60},
    "declared-equivariance": {"grid": TURN, "images": 60},
    "linear-equivariance": {"grid": TURN, "images": 120, "width": 2},
    "lie-derivative": {"images": 20, "directions": ["rotation"]},
    "pose-readout": {
        "factors": ["rotation"], "views": {"rotation": [-60, 60]}, "images": 120, "width": 2,
    },
    "part-whole": {},
}  # fmt: skip


def run(measure, model, *, untrained=None, data=None, **arguments):
    config = parse_config({"measure": measure, **CONTROLLED.get(measure, {}), **arguments})
    context = MeasureContext("cpu", untrained=untrained)
    return run_measure(config, model.eval(), data or Figures(), context)


def test_measures_whose_numbers_can_be_high_without_learning_are_controlled():
    assert {name for name in table("measures") if load_measure(name).controlled} == {*CONTROLLED}


@pytest.mark.parametrize("measure", ["invariance-error", "linear-equivariance", "pose-readout"])
def test_the_control_has_the_numbers_of_the_untrained_network_alone(measure):
    alone = run(measure, Untrained())
    both = run(measure, Equivariant(), untrained=Untrained().eval())
    own = [value for value in both.values if not value.is_untrained]
    control = [value for value in both.values if value.is_untrained]
    assert own == list(run(measure, Equivariant()).values)
    assert control == [v.of_untrained() for v in alone.values if v.layer != "pixels"]
    assert control
    for value in alone.values:
        if value.name in alone.per_image and value.layer != "pixels":
            array = both.per_image[value.of_untrained().name]
            assert np.array_equal(array, alone.per_image[value.name])
    assert np.array_equal(both.per_image["index"], alone.per_image["index"])


def test_without_initial_weights_there_is_a_note_and_no_number():
    result = run("invariance-error", Equivariant())
    assert not any(value.is_untrained for value in result.values)
    assert result.notes[-1] == UNKNOWN
    assert UNKNOWN not in run("consistency", Equivariant(), grid=TURN).notes


def test_a_measure_without_control_and_one_without_values_never_run_the_untrained_network():
    class Refuses(Untrained):
        def forward(self, images, views=None):
            raise AssertionError("it was run")

    assert run("consistency", Equivariant(), untrained=Refuses().eval(), grid=TURN).values
    nothing = run("declared-equivariance", Equivariant(), untrained=Refuses().eval())
    assert not nothing.values


def test_images_are_warped_once_for_both_networks(monkeypatch):
    counts: list[int] = []
    made = ImageDataModule.on_after_batch_transfer

    def count(self, batch, number):
        counts[-1] += 1
        return made(self, batch, number)

    monkeypatch.setattr(ImageDataModule, "on_after_batch_transfer", count)
    grid = {"rotation": {"start": 10, "stop": 30, "step": 10}}
    for untrained in (None, Untrained().eval()):
        counts.append(0)
        run("linear-equivariance", Equivariant(), untrained=untrained, grid=grid)
    # Stored images are cheap, and made again: for a check, and for each of the two classes.
    assert counts[1] == counts[0] + 3


def test_kept_images_are_bounded_and_forgotten(monkeypatch):
    monkeypatch.setattr("capsbench.data.evaluation.KEPT_BYTES", 0)
    data = Figures()
    some = run("invariance-error", Equivariant(), untrained=Untrained().eval(), data=data)
    monkeypatch.undo()
    kept = run("invariance-error", Equivariant(), untrained=Untrained().eval(), data=data)
    assert some.values == kept.values
    assert data.evaluation._kept is None


def test_notes_of_the_control_are_named_and_those_of_both_appear_once():
    result = MeasureResult((Quantity(metric="a").with_value(1, 2),), {}, ("of both",))
    control = result._replace(notes=("of both", "of one"))
    assert with_control(result, control).notes == ("of both", "untrained network: of one")


def test_each_network_advances_the_progress():
    steps = []
    config = parse_config({"measure": "invariance-error", **CONTROLLED["invariance-error"]})
    context = MeasureContext("cpu", lambda: steps.append(1))
    run_measure(config, Equivariant().eval(), Figures(), context)
    once = len(steps)
    run_measure(
        config, Equivariant().eval(), Figures(), replace(context, untrained=Untrained().eval())
    )
    assert once == config.num_progress_steps
    assert len(steps) == 3 * once


names = st.sampled_from(["a", "b"])
quantities = st.builds(
    Quantity,
    metric=names,
    layer=st.sampled_from([None, "pixels", POSES]),
    condition=st.dictionaries(st.sampled_from(["x", "y"]), st.booleans()),
)
results = st.dictionaries(quantities, st.floats(-1, 1), max_size=5).map(
    lambda numbers: MeasureResult(
        [quantity.with_value(number, 3) for quantity, number in numbers.items()],
        {quantity.name: np.full(3, number) for quantity, number in numbers.items()},
    )
)


@given(results, results)
def test_a_result_with_control_keeps_both_apart(result, control):
    both = with_control(result, control)
    assert len({value.name for value in both.values}) == len(both.values)
    assert [value for value in both.values if not value.is_untrained] == list(result.values)
    for value in both.values:
        assert value.name in both.per_image
        if value.is_untrained:
            assert value in [each.of_untrained() for each in control.values]
            assert np.all(both.per_image[value.name] == value.value)


@given(quantities)
def test_the_identity_of_the_control_differs_in_the_condition_alone(quantity):
    control = quantity.of_untrained()
    assert control.is_untrained
    assert not quantity.is_untrained
    assert control.name != quantity.name
    assert control.condition == {**quantity.condition, "network": "untrained"}
    assert control.of_untrained() == control
