"""The rendering error, on models whose drawings are known."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from capsbench.contracts import Model, Prediction
from capsbench.data.randomness import views_by_index
from capsbench.measures import MeasureEntry, RenderingError
from capsbench.measures.rendering_error import measure
from capsbench.names import find
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

SHIFT, TURN = ViewRange(shift=(-3, 3)), ViewRange(rotation=(-90, 90))


class Painter(Model):
    """Draws what a function of images and views says."""

    def __init__(self, draw):
        super().__init__(image_shape=(1, 32, 32), num_classes=10)
        self.draw = draw

    def forward(self, images, views=None):
        return Prediction(
            images.new_zeros(len(images), 10), reconstruction=self.draw(images, views)
        )

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


def true(images, views):
    return warp(images, views.matrices(32, 32))


def copy(images, views):
    return images


def nothing(images, views):
    return None


def grey(images, views):
    return torch.full_like(images, 0.5)


def outcome(draw, *, limit=130, training=None, **views):
    data = find("datamodules", "digits").load()(limit=limit, views=training or ViewRange())
    entry = RenderingError(measure="rendering-error", views=views or {"shift": SHIFT})
    steps = []
    measured = measure(entry, Painter(draw), data, "cpu", lambda: steps.append(1))
    assert len(steps) == entry.steps
    return measured, data


def test_the_truth_has_no_error_and_the_input_that_of_copying():
    found, _ = outcome(true, shift=SHIFT, turn=TURN)
    assert found.values["shift/rendering/error"] == found.values["turn/rendering/error"] == 0
    assert found.values["shift/rendering/share of copy"] == 0
    found, _ = outcome(copy, shift=SHIFT, turn=TURN)
    for name in ("shift", "turn"):
        assert found.values[f"{name}/rendering/error"] == found.values[f"{name}/copy/error"] > 0
        assert found.values[f"{name}/rendering/share of copy"] == 1
    assert found.values["shift/copy/error"] != found.values["turn/copy/error"]


@pytest.mark.parametrize("training", [ViewRange(), ViewRange(rotation=(10, 20))])
def test_errors_are_means_over_pixels_and_images_seen_from_familiar_views(training):
    found, data = outcome(grey, training=training)
    batches = list(data.evaluation.batches("test", "cpu"))
    seen = torch.cat([batch.images for batch in batches]).double()
    index = torch.cat([batch.index for batch in batches])
    views = views_by_index(SHIFT, index, "views to render", "shift")
    moved = warp(seen, views.matrices(32, 32)).numpy()
    expected = {
        "shift/rendering/error": ((0.5 - moved) ** 2).mean(),
        "shift/copy/error": ((seen.numpy() - moved) ** 2).mean(),
        "shift/constant/error": moved.var(axis=0).mean(),
    }
    for key, value in expected.items():
        assert found.values[key] == pytest.approx(value, rel=1e-5), key
    assert found.n == 130
    assert found.views == []
    per_image = ((0.5 - moved) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found.samples["shift/rendered"], per_image, rtol=1e-5)
    assert found.samples["index"].tolist() == index.tolist()


def test_an_image_is_moved_the_same_whatever_the_limit():
    few, _ = outcome(copy, limit=20)
    all_, _ = outcome(copy, limit=None)
    where = np.searchsorted(all_.samples["index"], few.samples["index"])
    np.testing.assert_array_equal(few.samples["shift/copied"], all_.samples["shift/copied"][where])
    assert len(np.unique(all_.samples["shift/copied"])) > 300  # not one view for all


def test_a_model_that_draws_nothing_has_no_error_of_its_own():
    found, _ = outcome(nothing)
    assert set(found.values) == {"shift/copy/error", "shift/constant/error"}
    assert set(found.samples) == {"shift/copied", "index"}


def test_where_nothing_moves_there_is_no_share():
    found, _ = outcome(grey, still=ViewRange())
    assert found.values["still/copy/error"] == 0
    assert found.values["still/rendering/error"] > 0
    assert "still/rendering/share of copy" not in found.values


@pytest.mark.parametrize("views", [{}, {"": SHIFT}, {"a/b": SHIFT}, {"shift": {"shfit": [0, 1]}}])
def test_ranges_need_names(views):
    with pytest.raises(ValidationError):
        TypeAdapter(MeasureEntry).validate_python({"measure": "rendering-error", "views": views})


def test_views_by_index_do_not_depend_on_the_other_images():
    index = torch.tensor([7, 3, 7, 0])
    views = views_by_index(TURN, index, "name")
    assert views.rotation[0] == views.rotation[2] != views.rotation[1]
    alone = views_by_index(TURN, index[1:2], "name")
    assert torch.equal(alone.rotation, views.rotation[1:2])
    assert not torch.equal(views_by_index(TURN, index, "other").rotation, views.rotation)
    assert isinstance(views, Views)
