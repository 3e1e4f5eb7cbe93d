"""Values of another type than expected: one sentence with the place, and no conversion."""

import numpy as np
import pytest

from capsbench.catalog import create_model
from capsbench.errors import UserError
from capsbench.measures import parse_config
from capsbench.schema import load_benchmark, parse_changes, parse_models
from capsbench.training.recipe import Recipe
from capsbench.viewpoint.ranges import ViewRange

GRID = "[{measure: accuracy-by-view, grid: {rotation: {start: %s, stop: %s, step: 9}}}]"
NUMBER = (
    "[{model: CNN, measure: %s, quantity: {metric: %s, split: %s}, value: %s, printed: x, "
    "source: x, selected_on: x, known_by: read}]"
)
ACCURACY = ("accuracy-by-split", "accuracy", "novel")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("recipe.steps", "yes", "recipe.steps: expected a whole number, got the text 'yes'"),
        ("recipe.steps", "'64'", "a whole number, got the text '64'"),
        ("recipe.steps", "64.0", "a whole number, got 64.0"),
        ("recipe.steps", "true", "a whole number, got true"),
        ("recipe.steps", "10:30", "a whole number, got the text '10:30'"),
        ("recipe.steps", "2001-99-99", "a whole number, got the text '2001-99-99'"),
        ("recipe.steps", "~", "a whole number, got nothing"),
        ("recipe.learning_rate", "'1e-3'", "learning_rate: expected a number, got the text"),
        ("recipe.learning_rate", ".nan", "a finite number, got nan"),
        ("recipe.augmentation", "[{RandomErasing: {p: yes}}]", "p of RandomErasing .* 'yes'"),
        ("seeds", "[yes, no]", "seeds.0: expected a whole number, got the text 'yes'"),
        ("seeds", "[0.0]", "a whole number, got 0.0"),
        ("seeds", "3", "seeds: expected a list, got 3"),
        ("version", "true", "a whole number, got true"),
        ("title", "12", "title: expected a text, got 12"),
        ("models.0.label", "false", "label: expected a text, got false"),
        ("models.0.recipe", "{steps: '7'}", "needs a reason"),
        ("data", "digits", "data: expected a mapping, got the text 'digits'"),
        ("data.per_class", "true", "per_class: expected a number, got true"),
        ("views.rotation", "[-15, off]", "a number, got the text 'off'"),
        ("views.rotation", "{start: '0', stop: 9, step: 3}", "start: expected a number"),
        ("views.part", "{width: '3', height: 4}", "width: expected a number"),
        ("matched", "{to: true}", "matched.to: expected a text or a number, got true"),
        ("search.learning_rate", "['1e-3', 1]", "a number, got the text '1e-3'"),
        ("scales", "{1: {}}", "scales.1: expected a text, got 1"),
        ("vary", "{name: x, place: recipe.steps, values: {1: '2', 3: 4}}", "got the text '2'"),
        ("vary", "{name: x, place: a, values: [[1], [2]]}", "values: expected a mapping"),
        ("vary", "{name: x, place: a, values: {b: 1, c: 2}}", "values.b: expected a number"),
        ("measures", GRID % ("'0'", 9), "start: expected a number, got the text '0'"),
        ("measures", "[{measure: calibration, bins: '9'}]", "bins: expected a whole number"),
        ("measures", "[{measure: 3}]", "measure: expected a text, got 3"),
        ("measures", "[calibration]", "a mapping with its name"),
        ("measures", "[{mesure: calibration}]", "the key 'measure', .* got mesure"),
        ("measures", "[{measure: calibraton}]", "did you mean 'calibration'"),
        ("measures", "[{measure: calibration, bims: 9}]", "did you mean 'bins'"),
        ("published", NUMBER % (*ACCURACY, "'1'"), "value: expected a number"),
        ("published", NUMBER % ("accuracy-by-splt", *ACCURACY[1:], 1), "mean 'accuracy-by-split'"),
        ("published", NUMBER % (ACCURACY[0], "acuracy", "novel", 1), "did you mean 'accuracy'"),
        ("published", NUMBER % ("accuracy-by-view", "accuracy", "novle", 1), "mean 'novel'"),
        ("published", "[{modl: CNN}]", "'published.0.modl'; did you mean 'model'"),
    ],
)
def test_another_type_or_name_is_refused_in_one_sentence(place, value, message):
    with pytest.raises(UserError, match=message) as caught:
        load_benchmark("quick", parse_changes([f"{place}={value}"]))
    assert "\n" not in str(caught.value)


def test_what_other_forms_of_a_value_are_accepted():
    settings = ["recipe.steps=0100", "recipe.learning_rate=1", "models.0.label=no", "seeds=[7]"]
    benchmark = load_benchmark("quick", parse_changes(settings))
    assert benchmark.recipe.steps == 100
    assert benchmark.recipe.learning_rate == 1.0
    assert benchmark.models[0].label == "no"
    assert benchmark.seeds == (7,)


def test_values_from_python_and_from_other_options_are_strict_too():
    with pytest.raises(UserError, match="width: expected a whole number, got the text '3'"):
        create_model("cnn-small", image_shape=(1, 8, 8), num_classes=2, width="3")
    create_model("cnn-small", image_shape=(1, 28, 28), num_classes=2, width=np.int64(3))
    with pytest.raises(UserError, match="learning_rate: expected a number, got true"):
        Recipe(learning_rate=True)
    with pytest.raises(UserError, match="expected a number, got the text '1'"):
        ViewRange(rotation=("1", 2))
    with pytest.raises(ValueError, match=r"bins: expected a whole number, got 9\.0"):
        parse_config({"measure": "calibration", "bins": 9.0})
    with pytest.raises(UserError, match="label: expected a text, got 3"):
        parse_models(["+{name: cnn-p4, label: 3}"])
