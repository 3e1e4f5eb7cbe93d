"""Rendering error of models whose renderings are known."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from capsbench.contracts import Model, Prediction
from capsbench.data.randomness import views_by_index
from capsbench.measures.rendering_error import RenderingErrorConfig
from capsbench.names import find
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp
from tests.measures.computing import compute, number, numbers

SHIFT, TURN = ViewRange(shift=(-3, 3)), ViewRange(rotation=(-90, 90))


class Renderer(Model):
    """Renders a given function of images and views."""

    def __init__(self, function):
        super().__init__(image_shape=(1, 32, 32), num_classes=10)
        self.function = function

    def forward(self, images, views=None):
        scores = images.new_zeros(len(images), 10)
        return Prediction(scores, reconstruction=self.function(images, views))

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


def exact(images, views):
    return warp(images, views.matrices(32, 32))


def copy(images, views):
    return images


def nothing(images, views):
    return None


def grey(images, views):
    return torch.full_like(images, 0.5)


def measured(function, *, limit=130, training=None, **views):
    data = find("datamodules", "digits").load()(limit=limit, views=training or ViewRange())
    model = Renderer(function)
    return compute("rendering-error", model, data, views=views or {"shift": SHIFT}), data


def test_an_exact_rendering_has_no_error_and_a_copy_that_of_copying():
    result, _ = measured(exact, shift=SHIFT, turn=TURN)
    assert number(result, metric="rendering_error", split="shift") == 0
    assert number(result, metric="rendering_error", split="turn") == 0
    assert number(result, metric="error_relative_to_copy", split="shift") == 0
    result, _ = measured(copy, shift=SHIFT, turn=TURN)
    errors = {name: number(result, metric="copy_error", split=name) for name in ("shift", "turn")}
    for name, error in errors.items():
        assert number(result, metric="rendering_error", split=name) == error > 0
        assert number(result, metric="error_relative_to_copy", split=name) == 1
    assert errors["shift"] != errors["turn"]


@pytest.mark.parametrize("training", [ViewRange(), ViewRange(rotation=(10, 20))])
def test_errors_are_means_over_pixels_and_images_at_familiar_views(training):
    result, data = measured(grey, training=training)
    batches = list(data.evaluation.batches("test", "cpu"))
    familiar = torch.cat([batch.images for batch in batches]).double()
    index = torch.cat([batch.index for batch in batches])
    views = views_by_index(SHIFT, index, "views to render", "shift")
    moved = warp(familiar, views.matrices(32, 32)).numpy()
    expected = {
        "rendering_error": ((0.5 - moved) ** 2).mean(),
        "copy_error": ((familiar.numpy() - moved) ** 2).mean(),
        "constant_error": moved.var(axis=0).mean(),
    }
    for metric, value in expected.items():
        assert number(result, metric=metric, split="shift") == pytest.approx(value, rel=1e-5)
    assert {value.n for value in result.values} == {130}
    per_image = ((0.5 - moved) ** 2).mean(axis=(1, 2, 3))
    kept = result.per_image["rendering_error[split=shift]"]
    np.testing.assert_allclose(kept, per_image, rtol=1e-5)
    assert result.per_image["index"].tolist() == index.tolist()


def test_an_image_has_the_same_view_for_any_limit():
    few, many = (measured(copy, limit=limit)[0].per_image for limit in (20, None))
    rows = np.searchsorted(many["index"], few["index"])
    errors = many["copied[split=shift]"]
    np.testing.assert_array_equal(few["copied[split=shift]"], errors[rows])
    assert len(np.unique(errors)) > 300  # not one view for all


def test_some_renderings_are_kept_with_what_is_expected():
    result, data = measured(grey, still=ViewRange(), shift=SHIFT)
    places = result.per_image["rendered[split=shift]"]
    assert (places[0], places[-1], len(places)) == (0, 129, 10)
    images = torch.cat([batch.images for batch in data.evaluation.batches("test", "cpu")])[places]
    views = views_by_index(SHIFT, data.split("test").index[places], "views to render", "shift")
    kept = result.per_image["renderings[split=shift]"]
    expected = torch.stack([images, warp(images, views.matrices(32, 32)), images * 0 + 0.5], 1)
    np.testing.assert_array_equal(kept, (expected * 255).round().byte().numpy())
    still = result.per_image["renderings[split=still]"]
    np.testing.assert_array_equal(still[:, 0], still[:, 1])


def test_a_model_that_renders_nothing_has_no_rendering_error():
    result, _ = measured(nothing)
    assert numbers(result).keys() == {"copy_error[split=shift]", "constant_error[split=shift]"}
    assert result.per_image.keys() == {"copied[split=shift]", "index"}


def test_without_any_change_there_is_no_relative_error():
    result, _ = measured(grey, still=ViewRange())
    assert number(result, metric="copy_error", split="still") == 0
    assert number(result, metric="rendering_error", split="still") > 0
    assert "error_relative_to_copy[split=still]" not in numbers(result)


@pytest.mark.parametrize("views", [{}, {"": SHIFT}, {"a/b": SHIFT}, {"shift": {"shfit": [0, 1]}}])
def test_ranges_need_names(views):
    with pytest.raises(ValidationError):
        RenderingErrorConfig.model_validate({"measure": "rendering-error", "views": views})


def test_views_by_index_do_not_depend_on_the_other_images():
    index = torch.tensor([7, 3, 7, 0])
    views = views_by_index(TURN, index, "name")
    assert views.rotation[0] == views.rotation[2] != views.rotation[1]
    alone = views_by_index(TURN, index[1:2], "name")
    assert torch.equal(alone.rotation, views.rotation[1:2])
    assert not torch.equal(views_by_index(TURN, index, "other").rotation, views.rotation)
    assert isinstance(views, Views)
