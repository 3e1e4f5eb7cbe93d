"""Every measure with models that give no numbers, no gradient, or other answers each time."""

import random
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import dropout

import capsbench
from capsbench.measures import MeasureContext, parse_config, run_measure
from capsbench.measures._image_gradients import absent_gradients
from capsbench.measures._observations import Output
from capsbench.measures._repeated_passes import repeated_pass_notes
from capsbench.values import select
from capsbench.viewpoint.ranges import ViewRange
from capsbench.wrapping import LogitsModel
from tests.measures.odd_models import (
    FINE,
    INFINITE,
    NO_GRADIENT,
    NOT_FINITE,
    UNSTABLE,
    Buffers,
    Giving,
    Inference,
    Objects,
    half,
    some_nan,
)

GRID = {"rotation": {"start": 0, "stop": 90, "step": 90}}
PAIRS = {**GRID, "scale": {"start": 1, "stop": 1.5, "step": 0.5}}
OF_LAYERS: dict[str, Any] = {"grid": GRID, "images": 40}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "accuracy-by-view": {"grid": GRID},
    "accuracy-by-joint-view": {"grid": PAIRS},
    "accuracy-by-split": {"ranges": {"turned": {"rotation": [30, 90]}}},
    "averaged-accuracy": {"shifts": [[0, 0], [1, 1]]},
    "worst-of-k": {"views": {"rotation": [-15, 15]}, "k": 2},
    "consistency": {"grid": GRID},
    "invariance-error": OF_LAYERS,
    "spatial-equivariance": OF_LAYERS,
    "declared-equivariance": {**OF_LAYERS, "grid": {"shift_x": {"start": 0, "stop": 1, "step": 1}}},
    "linear-equivariance": {"grid": GRID, "width": 1},
    "lie-derivative": {"directions": ["rotation"], "images": 20},
    "attacks": {"methods": ["fgsm", "pgd"], "epsilons": [0.1], "steps": 2, "images": 30},
    "pose-readout": {"factors": ["rotation"], "views": {"rotation": [-45, 45]}},
    "part-whole": {},
    "calibration": {},
    "filters": {"sets": 2},
    "rendering-error": {"views": {"moved": {"shift": [-2, 2]}}},
    "cost": {"batch_size": 4, "repeats": 1},
}
WITHOUT_OUTPUTS = ("filters", "cost")
NEEDS_GRADIENT = ("attacks", "lie-derivative")
FAST = ("accuracy-by-split", "calibration", "invariance-error", *NEEDS_GRADIENT)


def measures():
    """All measures; those that show what others show too are slow tests."""
    return [
        pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in ARGUMENTS
    ]


@pytest.fixture(scope="module")
def data():
    return Objects(views=ViewRange.model_validate({"rotation": [-15, 15]}))


def measured(name, model, data, **context):
    config = parse_config({"measure": name, **ARGUMENTS[name]})
    return run_measure(config, model.eval(), data, MeasureContext("cpu", **context))


def numbers(result):
    """Return the values but those of speed and memory."""
    timed = ("images_per_second", "peak_bytes")
    return {each.name: each.value for each in result.values if each.metric not in timed}


def has_note(result, *words):
    return any(all(word in note for word in words) for note in result.notes)


def test_all_measures_are_here():
    assert set(ARGUMENTS) == set(capsbench.list_measures())


@pytest.fixture(scope="module")
def plain_numbers(data):
    """The values of the plain model by measure, each computed once."""
    return cache(lambda name: numbers(measured(name, Giving(), data)))


@pytest.mark.parametrize("name", measures())
@pytest.mark.parametrize("kind", NOT_FINITE)
def test_outputs_that_are_not_finite_are_not_measured(kind, name, data, plain_numbers):
    result = measured(name, NOT_FINITE[kind](), data)
    expected = plain_numbers(name)
    own = {value: number for value, number in expected.items() if "layer=features" in value}
    own |= {value: number for value, number in expected.items() if "layer=pixels" in value}
    if name in WITHOUT_OUTPUTS:
        assert numbers(result) == expected != {}
    elif own:  # layers before the output
        assert numbers(result).items() >= own.items()
        assert not [each for each in result.values if each.layer == "probabilities"]
    else:
        assert not result.values
        assert not result.per_image
        assert has_note(result, "not measured", "not finite", "images")


@pytest.mark.parametrize("name", measures())
@pytest.mark.parametrize("kind", NO_GRADIENT)
def test_only_what_needs_a_gradient_is_not_measured_without_one(kind, name, data):
    model = NO_GRADIENT[kind]()
    result = measured(name, model, data)
    if name not in NEEDS_GRADIENT:
        assert not has_note(result, "no gradient")
        assert result.values
        return
    assert has_note(result, "not measured", "no gradient with respect to the image")
    if name == "attacks":
        assert [each.condition for each in result.values] == [{"attack": "none"}]
    else:
        others = {"pixels"} if kind == "inference mode" else {"pixels", "features"}
        assert {each.layer for each in result.values} == others
    assert not [array for array in result.per_image if "epsilon" in array or "probab" in array]


@pytest.mark.parametrize("name", measures())
@pytest.mark.parametrize("kind", UNSTABLE)
def test_answers_that_depend_on_the_draw_or_the_batch_have_a_note(kind, name, data):
    model = UNSTABLE[kind]()
    notes = repeated_pass_notes(model, data, "cpu")
    words = {
        "dropout": ("differently", "dropout"),
        "batch statistics": ("other images", "batch statistics"),
    }
    (note,) = notes
    assert all(word in note for word in words[kind])
    result = measured(name, model, data, model_notes=lambda _: notes)
    assert result.values
    assert (note in result.notes) is (name not in WITHOUT_OUTPUTS)


@pytest.mark.parametrize("output", ["presences", "rendering"])
def test_other_outputs_than_the_scores_that_depend_on_the_draw_have_a_note(output, data):
    model = Giving(**{output: lambda values: dropout(values, 0.5, training=True)})
    (note,) = repeated_pass_notes(model.eval(), data, "cpu")
    assert "dropout" in note


@pytest.mark.parametrize("name", measures())
@pytest.mark.parametrize("kind", FINE)
def test_finite_differentiable_models_are_measured(kind, name, data):
    model = FINE[kind]()
    assert repeated_pass_notes(model, data, "cpu") == ()
    result = measured(name, model, data)
    assert not has_note(result, "not finite")
    assert not has_note(result, "no gradient")
    assert {"attacks": 7}.get(name, 0) <= len(result.values)
    if name in NEEDS_GRADIENT:
        assert {each.layer for each in result.values} & {None, "probabilities"}


@pytest.mark.parametrize("name", ["calibration", "part-whole"])
@pytest.mark.parametrize("kind", INFINITE)
def test_infinite_probabilities_are_not_measured(kind, name, data):
    result = measured(name, INFINITE[kind](), data)
    assert not result.values
    words = {"presences": "'presences'", "log-probabilities": "the output is"}
    assert has_note(result, "not measured", words[kind], "not finite")


@pytest.mark.parametrize("error", [MemoryError, OSError, torch.OutOfMemoryError])
def test_errors_that_are_not_of_arithmetic_are_raised(error, data, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr("capsbench.measures.calibration.top_probability", fail)
    with pytest.raises(error):
        measured("calibration", NOT_FINITE["nan"](), data)


def test_buffers_that_are_written_have_no_forward_derivative(data):
    result = measured("lie-derivative", Buffers(), data)
    assert not result.values
    assert has_note(result, "not measured", "forward derivative", "in-place")
    expected = numbers(measured("attacks", Giving(), data))
    assert numbers(measured("attacks", Buffers(), data)) == expected


def test_only_models_that_are_run_are_evaluated_twice(data):
    def notes(model):
        return (type(model).__name__,)

    config = {"measure": "attacks", **ARGUMENTS["attacks"], "sources": ["other"]}
    sources = {"other": Inference().eval(), "unused": Buffers().eval()}
    context = MeasureContext("cpu", sources=sources, model_notes=notes)
    result = run_measure(parse_config(config), Giving().eval(), data, context)
    assert {"Giving", "other: Inference"} <= set(result.notes)
    assert not has_note(result, "Buffers")
    for name in WITHOUT_OUTPUTS:
        assert measured(name, Giving(), data, model_notes=pytest.fail).values


def test_images_of_a_setup_are_not_counted(data):
    def counted(name):
        result = measured(name, Giving(features=some_nan), data)
        (note,) = (each for each in result.notes if "not finite" in each)
        return note.partition("images")[0]

    assert counted("spatial-equivariance") == counted("invariance-error")


def test_features_that_are_not_finite(data):
    model = Giving(features=some_nan)
    result = measured("invariance-error", model, data)
    assert {each.layer for each in result.values} == {"pixels", "probabilities"}
    assert has_note(result, "not measured", "layer 'features'", "not finite")


def test_models_without_gradient_in_some_images_are_measured(data):
    """A unit that is off for many images is an honest zero gradient, a constant output is none."""

    def saturated(logits):
        return torch.where(half(logits), logits, logits.detach())

    result = measured("attacks", Giving(saturated), data)
    (zero,) = select(result.values, metric="zero_gradient", method="fgsm", epsilon=0.1)
    assert 0 < zero.value < 1
    assert not has_note(result, "no gradient")


def test_forward_derivatives_need_no_graph(data):
    """Under no_grad a model has an exact Lie derivative, but no gradient that an attack climbs."""

    class NoGrad(Giving):
        @torch.no_grad()
        def forward(self, images, views=None):
            return super().forward(images)

    result = measured("lie-derivative", NoGrad(), data)
    assert numbers(result) == numbers(measured("lie-derivative", Giving(), data))
    assert has_note(measured("attacks", NoGrad(), data), "no gradient")


def test_saturated_probabilities_have_a_gradient(data):
    """Of a confident model, log-probabilities have a gradient where probabilities have none."""
    result = measured("attacks", Giving(lambda z: 1e5 * z), data)
    assert not has_note(result, "no gradient")
    result = measured("lie-derivative", Giving(lambda z: 1e5 * z), data)
    assert "probabilities" in {each.layer for each in result.values}


def test_an_invariant_model_has_an_honest_lie_derivative(data):
    """A mean over all positions changes little, or not at all, as the image moves by pixels."""

    class Mean(nn.Module):
        def forward(self, images):
            return images.mean(dim=(2, 3)).repeat(1, 2) * torch.tensor([1.0, -1.0])

    model = LogitsModel(Mean(), image_shape=(1, 4, 4), num_classes=2)
    result = measured("lie-derivative", model, data)
    assert not has_note(result, "no gradient")
    assert "probabilities" in {each.layer for each in result.values}


def test_transferred_attacks_need_a_source_with_numbers_and_a_gradient(data):
    config = {"measure": "attacks", **ARGUMENTS["attacks"], "sources": ["other"]}

    def with_source(source):
        context = MeasureContext("cpu", sources={"other": source.eval()})
        return run_measure(parse_config(config), Giving().eval(), data, context)

    complete = with_source(Giving(lambda z: -z))
    for kind, word in (("some nan", "not finite"), ("detached", "no gradient")):
        result = with_source((NOT_FINITE | NO_GRADIENT)[kind]())
        assert has_note(result, "not measured", word, "of other")
        own = {each.name: each.value for each in complete.values if each.source is None}
        assert {each.name: each.value for each in result.values} == own
    white_box = with_source(Giving(lambda z: -z))
    assert {each.name for each in white_box.values if each.source} != set()


def test_random_state_is_left_alone(data):
    model = UNSTABLE["dropout"]().eval()
    before = torch.get_rng_state(), random.getstate()
    assert repeated_pass_notes(model, data, "cpu")
    outputs = [Output("log-probabilities")]
    assert absent_gradients(model, outputs, data, "cpu") == {}
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def test_an_error_of_a_finite_model_is_raised(data, monkeypatch):
    """Only errors that follow from outputs which are not finite become a note."""

    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("capsbench.measures.accuracy_by_split.AccuracyBySplit.compute", fail)
    with pytest.raises(ZeroDivisionError):
        measured("accuracy-by-split", Giving(), data)


def test_training_that_cannot_be_timed_leaves_the_other_costs(data):
    result = measured("cost", Giving(torch.Tensor.detach), data)
    phases = {each.condition.get("phase") for each in result.values}
    assert phases == {None, "inference"}
    assert has_note(result, "training is not measured", "grad")
