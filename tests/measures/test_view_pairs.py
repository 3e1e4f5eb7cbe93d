"""Pairs of recorded images of one object, and measures of layers on them."""

import pytest
import torch
from pydantic import ValidationError

from capsbench.data.batches import Split
from capsbench.data.folds import folds_by_object
from capsbench.data.images import Identity
from capsbench.data.recorded import RecordedData, Recording
from capsbench.errors import UserError
from capsbench.measures._equivariance_maps import fit_equivariance_maps
from capsbench.measures._image_subset import image_subset, subset_batches
from capsbench.measures._paired_activations import identity_view
from capsbench.measures._view_pairs import find_partners
from capsbench.measures.invariance_error import InvarianceErrorConfig
from capsbench.values import select
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import Flat
from tests.measures.computing import compute, number
from tests.measures.layered import Layered, random

QUARTERS = {"azimuth": {"start": 90, "stop": 270, "step": 90}}
ROWS = random(16, 16)


class Carousel(RecordedData):
    """Patterns of noise that rotate by 90 degrees with the azimuth, in two lights."""

    identity = Identity("carousel", "1", "none")
    image_shape = (1, 4, 4)
    num_classes = 2
    class_names = ("a", "b")
    source = "made up"
    factors = ("azimuth", "lighting", "instance")
    has_masks = False

    def read(self):
        grid = torch.cartesian_prod(
            torch.arange(2), torch.arange(60), torch.arange(4), torch.arange(2)
        )
        grid = grid[torch.randperm(len(grid), generator=torch.Generator().manual_seed(1))]
        label, instance, quarter, light = grid.unbind(-1)
        draws = torch.Generator().manual_seed(0)
        patterns = torch.randint(0, 120, (2, 60, 4, 4), generator=draws)
        seen = torch.stack([patterns.rot90(k, (2, 3)) for k in range(4)])
        images = (seen[quarter, label, instance] + 100 * light[:, None, None])[:, None]
        factors = {"azimuth": 90 * quarter, "lighting": light, "instance": instance}
        split = Split(images.to(torch.uint8), label, torch.arange(len(grid)), factors)
        return Recording(split, instance >= 10)

    @classmethod
    def availability(cls, data_root):
        return "made up"


def data():
    return Carousel(views=ViewRange(azimuth={"values": [0]}))


def measured(name, **layers):
    model = Layered((1, 4, 4), 2, **{key: (one, "vector") for key, one in layers.items()})
    width = {"width": 16} if name == "linear-equivariance" else {}
    return compute(name, model.eval(), data(), grid=QUARTERS, images=800, **width)


def invertible(images):
    return images.flatten(1) @ ROWS


def test_partners_show_the_same_object_in_the_same_light_after_the_change():
    test = data().split("test")
    for degrees in (90, -90, 180, 450):
        rows = find_partners(test, GridView("azimuth", degrees))
        assert (rows >= 0).all()
        assert torch.equal(test.targets[rows], test.targets)
        for name in ("instance", "lighting"):
            assert torch.equal(test.factors[name][rows], test.factors[name])
        changed = (test.factors["azimuth"] + degrees) % 360
        assert torch.equal(test.factors["azimuth"][rows], changed)
    assert (find_partners(test, GridView("azimuth", 45)) == -1).all()
    assert (find_partners(test[:1], GridView("azimuth", 90)) == -1).all()


def test_batches_of_images_and_of_their_partners_correspond():
    carousel, change = data(), GridView("azimuth", 90)
    subset = image_subset(carousel, [change], 150)
    assert subset.split == "test"
    assert len(subset.rows) == 150
    pairs = zip(
        subset_batches(carousel, "cpu", subset, identity_view()),
        subset_batches(carousel, "cpu", subset, change),
        strict=True,
    )
    for x, gx in pairs:
        assert torch.equal(x.images.rot90(1, (2, 3)), gx.images)
        assert torch.equal(x.targets, gx.targets)


def test_features_that_rotate_with_the_object_are_explained_on_other_objects():
    result = measured("linear-equivariance", invertible=invertible)
    for place in ({}, *({"factor": "azimuth", "view": change} for change in (90, 180, 270))):
        for layer in ("pixels", "invertible"):
            gain = number(result, metric="gain_over_control", layer=layer, **place)
            assert gain == pytest.approx(1, abs=1e-3)
    group_law = {"factor": "azimuth", "layer": "pixels"}
    assert number(result, metric="group_law_error", **group_law) < 1e-3
    assert number(result, metric="group_law_distance", **group_law) > 1
    # A third of the objects is held out with all of its images.
    test = data().split("test")
    row_of = {number: row for row, number in enumerate(test.index.tolist())}
    rows = torch.tensor([row_of[number] for number in result.per_image["index"].tolist()])
    objects = 100 * test.targets[rows] + test.factors["instance"][rows]
    assert len(objects.unique()) == 2 * round(50 / 3)


def test_features_of_the_light_alone_are_invariant_and_have_no_change_to_explain():
    def light(images):
        return images.flatten(1).mean(dim=1, keepdim=True) @ random(1, 16)

    result = measured("invariance-error", light=light)
    change = {"factor": "azimuth", "view": 90}
    error = number(result, metric="invariance_error", layer="light", **change)
    assert error == pytest.approx(0, abs=1e-5)
    assert number(result, metric="invariance_error", layer="pixels", factor="azimuth") > 0.3
    result = measured("linear-equivariance", light=light)
    assert not select(result.values, metric="explained", layer="light", view=None)
    assert any("undefined" in note and "light" in note for note in result.notes)


def test_layers_that_are_not_finite_are_left_out():
    def broken(images):
        return torch.where(images.flatten(1) > 0.3, torch.nan, images.flatten(1))

    result = measured("linear-equivariance", broken=broken)
    assert any("broken is left out" in note and "finite" in note for note in result.notes)
    assert not select(result.values, layer="broken")


@pytest.mark.parametrize("objects", range(2, 7))
def test_maps_are_fitted_however_few_objects_a_class_has(objects):
    """A change of features that is the same for all objects is explained on others."""
    generator = torch.Generator().manual_seed(0)
    count = 120 * objects
    features = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    changed = features[:, [1, 0, 3, 2]] * torch.tensor([1.0, -1.0, 1.0, -1.0])
    targets = torch.arange(count) % 2
    instances = torch.arange(count) // 2 % objects
    folds = folds_by_object(targets, instances, torch.arange(count))
    fit = fit_equivariance_maps(features, changed[:, None], targets, folds, width=4)
    assert fit.overall().explained.item() == pytest.approx(1, abs=1e-6)


def test_invalid_changes_are_refused():
    with pytest.raises(UserError, match="instance"):
        find_partners(Flat().split("test"), GridView("azimuth", 90))
    with pytest.raises(UserError, match=r"azimuth\+45"):
        image_subset(data(), [GridView("azimuth", 45)], 10)
    for grid, message in (
        ({"azimuth": {"start": 0, "stop": 90, "step": 90}}, "azimuth 0"),
        ({"azimuth": {"start": 360, "stop": 360, "step": 1}}, "azimuth 360"),
        ({"lighting": {"start": 1, "stop": 1, "step": 1}}, "lighting"),
    ):
        with pytest.raises(ValidationError, match=message):
            InvarianceErrorConfig.model_validate({"measure": "invariance-error", "grid": grid})


def test_changes_of_recorded_factors_have_a_sign():
    assert GridView("azimuth", 20).change_key == "azimuth+20"
    assert GridView("azimuth", -20.5).change_key == "azimuth-20.5"
    assert GridView("rotation", -20).change_key == "rotation=-20"
