"""Linear equivariance of layers that are known functions of the image."""

import pytest
import torch
from pydantic import ValidationError

from capsbench.data.folds import folds_by_image
from capsbench.measures import MeasureContext, load_measure
from capsbench.measures._equivariance_maps import fit_equivariance_maps
from capsbench.measures._group_law import compositions, group_law_of_maps
from capsbench.measures._per_class_fit import reduce_isometrically
from capsbench.values import select
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from tests.measures.computing import compute, number
from tests.measures.layered import Layered, NoiseImages, TwoClassNoise, orbit_mean, random

NAME = "linear-equivariance"
TURNS = {"rotation": {"start": 0, "stop": 270, "step": 90}}
INVERTIBLE = random(16, 16)
LARGE = random(16, 3000, seed=1)
SHARES = ("explained", "shuffled_explained", "gain_over_control", "change_in_components")


def model_of(**functions):
    layers = {name: (function, "vector") for name, function in functions.items()}
    return Layered((1, 4, 4), 2, **layers).eval()


def measured(arguments=None, **functions):
    arguments = {"grid": TURNS, "width": 16, **(arguments or {})}
    return compute(NAME, model_of(**functions), NoiseImages(), **arguments)


def invertible(images):
    return images.flatten(1) @ INVERTIBLE


def large(images):
    return images.flatten(1) @ LARGE


def folded(images):
    return (images.flatten(1) - 0.5).abs() @ INVERTIBLE + 0.2 * images.flatten(1)


@pytest.fixture(scope="module")
def result():
    def hashed(images):
        return (1000 * images.flatten(1) @ INVERTIBLE).sin()

    return measured(
        invertible=invertible,
        large=large,
        hashed=hashed,
        invariant=orbit_mean(large),
        few=lambda images: images.flatten(1)[:, :5],
    )


@pytest.mark.parametrize("layer", ["pixels", "invertible", "large"])
@pytest.mark.parametrize(
    "view", [{}, {"factor": "rotation", "view": 90}, {"factor": "rotation", "view": 270}], ids=str
)
def test_an_invertible_linear_layer_is_explained_completely(result, layer, view):
    fields = {"layer": layer, **view}
    assert number(result, metric="explained", **fields) == pytest.approx(1, abs=1e-6)
    assert number(result, metric="gain_over_control", **fields) == pytest.approx(1, abs=1e-5)
    assert number(result, metric="change_in_components", **fields) == pytest.approx(1, abs=1e-6)
    assert number(result, metric="distance_from_identity", **fields) > 1


@pytest.mark.parametrize("layer", ["pixels", "invertible", "large"])
def test_an_invertible_linear_layer_obeys_the_group_law(result, layer):
    fields = {"layer": layer, "factor": "rotation"}
    assert number(result, metric="group_explained", **fields) == pytest.approx(1, abs=1e-6)
    assert number(result, metric="group_law_error", **fields) < 1e-8
    assert number(result, metric="group_law_noise", **fields) < 1e-8
    assert number(result, metric="group_law_distance", **fields) > 1


def test_a_hashed_layer_is_explained_no_better_than_by_its_mean(result):
    assert number(result, metric="explained", layer="hashed") == pytest.approx(0.5, abs=0.1)
    assert abs(number(result, metric="gain_over_control", layer="hashed")) < 0.1
    assert number(result, metric="group_law_error", factor="rotation", layer="hashed") > 0.1


def test_undefined_values_and_narrow_layers_are_left_out_with_a_note(result):
    assert not select(result.values, layer="few")
    assert not select(result.values, layer="probabilities")
    assert any("few is left out: it has 5 numbers" in note for note in result.notes)
    invariant = {value.metric for value in select(result.values, layer="invariant")}
    assert not invariant & {*SHARES}
    assert number(result, metric="distance_from_identity", layer="invariant") < 1e-3
    assert any(note.startswith("undefined (0/0): explained") for note in result.notes)
    assert not select(result.values, view=0)


def test_numbers_are_those_of_the_definition():
    data = NoiseImages()
    rows = torch.arange(600)
    by_view = {
        view: data.evaluation.get_batch("familiar", rows, GridView("rotation", view)).images
        for view in (90, 180, 270)
    }
    stored = data.evaluation.get_batch("familiar", rows, Views.identity(1))
    f_gx = torch.stack([folded(images) for images in by_view.values()], dim=1)
    folds = folds_by_image(stored.index)
    fit = fit_equivariance_maps(folded(stored.images), f_gx, stored.targets, folds, width=8)
    result = measured(folded=folded, arguments={"width": 8, "layers": ["folded"]})
    for metric, expected in fit.overall()._asdict().items():
        assert number(result, metric=metric, layer="folded") == pytest.approx(
            expected.item(), rel=1e-6
        )
    for row, view in enumerate(by_view):
        for metric, expected in fit.by_view()._asdict().items():
            fields = {"factor": "rotation", "view": view, "layer": "folded"}
            assert number(result, metric=metric, **fields) == pytest.approx(
                expected[row].item(), rel=1e-6
            )
    # The shares are ratios of sums of the per-image arrays.
    residual = result.per_image["residual[layer=folded]"]
    change = result.per_image["change[layer=folded]"]
    n = int(fit.images.sum())
    assert residual.shape == (n, 3)
    assert {value.n for value in result.values} == {n}
    assert len(result.per_image["index"]) == n
    explained = number(result, metric="explained", layer="folded")
    assert 1 - residual.sum() / change.sum() == pytest.approx(explained, rel=1e-4)
    assert residual.sum(axis=0) == pytest.approx(fit.residual.sum(dim=0).numpy(), rel=1e-4)
    gain = number(result, metric="gain_over_control", layer="folded")
    influence = result.per_image["gain_over_control[layer=folded]"]
    assert influence.shape == (n,)
    assert influence.mean() == pytest.approx(gain, rel=1e-4)


def test_maps_of_a_group_are_fitted_to_images_from_all_views():
    def upright_is_special(images):
        """Return features for which maps of upright images do not hold for rotated ones."""
        return folded(images * torch.linspace(0.2, 1, 16).reshape(4, 4))

    result = measured(special=upright_is_special, arguments={"layers": ["special"]})
    data, rows = NoiseImages(), torch.arange(600)
    batches = [
        data.evaluation.get_batch("familiar", rows, GridView("rotation", 90 * turn))
        for turn in range(4)
    ]
    features = torch.stack([upright_is_special(batch.images) for batch in batches], dim=1)
    order = (torch.arange(4)[:, None] + torch.arange(4)) % 4
    from_all_views = features[:, order].flatten(0, 1)
    fit = fit_equivariance_maps(
        from_all_views[:, 0],
        from_all_views[:, 1:],
        batches[0].targets.repeat_interleave(4),
        folds_by_image(batches[0].index.repeat_interleave(4)),
        width=16,
    )
    law = group_law_of_maps(fit, compositions([90, 180, 270], period=360))
    expected = {
        "group_explained": fit.overall().explained,
        "group_gain_over_control": fit.overall().gain_over_control,
        "group_law_error": law.error.mean(),
        "group_law_noise": law.noise.mean(),
        "group_law_distance": law.distance.mean(),
    }
    for metric, value in expected.items():
        assert number(result, metric=metric, factor="rotation", layer="special") == pytest.approx(
            value.item(), rel=1e-4
        )


def test_without_a_group_maps_are_fitted_to_stored_images():
    grid = {"rotation": {"start": 90, "stop": 180, "step": 90}}
    result = measured(arguments={"grid": grid, "layers": ["pixels"]})
    assert number(result, metric="group_law_error", factor="rotation", layer="pixels") < 1e-8
    assert not select(result.values, metric="group_explained")
    (note,) = result.notes
    assert "group law of rotation" in note
    assert "as they are stored" in note


@pytest.mark.parametrize(
    ("data", "images", "message"),
    [
        (NoiseImages, 100, "160 training images"),
        (NoiseImages, 100, "or a width of 3"),
        (NoiseImages, 30, "give more images"),
        (TwoClassNoise, 2000, "several objects"),
    ],
    ids=["too few images", "largest width", "too few for any width", "several objects"],
)
def test_too_few_images_and_images_of_several_objects_are_not_measured(data, images, message):
    measure = load_measure(NAME)
    result = measure.compute(
        config(grid=TURNS, width=16, images=images), model_of(), data(), MeasureContext("cpu")
    )
    assert (list(result.values), result.per_image) == ([], {})
    (note,) = result.notes
    assert message in note


def test_isometric_features_keep_their_inner_products():
    features = random(5, 3, 400)
    reduced = reduce_isometrically(features)
    assert reduced.shape == (5, 3, 15)
    flat, vectors = features.flatten(0, 1), reduced.flatten(0, 1)
    torch.testing.assert_close(vectors @ vectors.T, flat @ flat.T, rtol=1e-4, atol=1e-3)
    assert reduce_isometrically(features[..., :15]).equal(features[..., :15])


def config(**arguments):
    return load_measure(NAME).config.model_validate({"measure": NAME, **arguments})


def test_quarter_turns_are_the_default():
    default = config()
    assert [(view.factor, view.value) for view in default.grid.views()] == [
        ("rotation", value) for value in (-90, 0, 90, 180)
    ]
    assert (default.width, default.layers, default.images) == (10, None, 2000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"grid": {"azimuth": {"start": 0, "stop": 90, "step": 90}}}, "azimuth"),
        ({"grid": {"rotation": {"start": 0, "stop": 360, "step": 360}}}, "changes the image"),
        ({"width": 0}, "greater than or equal to 1"),
    ],
    ids=["recorded", "no change", "no component"],
)
def test_bad_arguments_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        config(**content)
