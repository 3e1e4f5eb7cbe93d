"""Changes of how an object stood: pairs of its images, and what layers make of them."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from capsbench.data.batches import Split
from capsbench.data.images import Identity
from capsbench.data.recorded import RecordedData, Recording
from capsbench.errors import UserError
from capsbench.measures import MeasureEntry, invariance_error, linear_equivariance
from capsbench.measures._affine_equivariance import linear_equivariance as linear_equivariance_of
from capsbench.measures._affine_maps import divide_objects
from capsbench.measures._image_subset import image_subset, subset_batches
from capsbench.measures._paired_activations import identity_view
from capsbench.measures._view_pairs import find_partners
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import Flat
from tests.measures.layered import Layered, random

QUARTERS = {"azimuth": {"start": 90, "stop": 270, "step": 90}}
ROWS = random(16, 16)


class Carousel(RecordedData):
    """Patterns of noise that turn by 90 degrees with the azimuth, in two lights."""

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


def measured(measure, name, **layers):
    content = {"measure": name, "grid": QUARTERS, "images": 800}
    content |= {"width": 16} if name == "linear-equivariance" else {}
    entry = TypeAdapter(MeasureEntry).validate_python(content)
    model = Layered((1, 4, 4), 2, **{key: (one, "vector") for key, one in layers.items()})
    return measure(entry, model.eval(), data(), "cpu", lambda: None)


def invertible(images):
    return images.flatten(1) @ ROWS


def test_a_partner_is_the_same_object_in_the_same_light_turned_further():
    test = data().split("test")
    for degrees in (90, -90, 180, 450):
        rows = find_partners(test, GridView("azimuth", degrees))
        assert (rows >= 0).all()
        assert torch.equal(test.targets[rows], test.targets)
        for name in ("instance", "lighting"):
            assert torch.equal(test.factors[name][rows], test.factors[name])
        turned = (test.factors["azimuth"] + degrees) % 360
        assert torch.equal(test.factors["azimuth"][rows], turned)
    assert (find_partners(test, GridView("azimuth", 45)) == -1).all()
    assert (find_partners(test[:1], GridView("azimuth", 90)) == -1).all()


def test_x_and_its_partner_come_side_by_side():
    carousel, change = data(), GridView("azimuth", 90)
    chosen = image_subset(carousel, [change], 150)
    assert chosen.split == "test"
    assert len(chosen.rows) == 150
    pairs = zip(
        subset_batches(carousel, "cpu", chosen, identity_view()),
        subset_batches(carousel, "cpu", chosen, change),
        strict=True,
    )
    for x, gx in pairs:
        assert torch.equal(x.images.rot90(1, (2, 3)), gx.images)
        assert torch.equal(x.targets, gx.targets)


def test_what_turns_with_the_object_is_explained_on_other_objects():
    found = measured(linear_equivariance.measure, "linear-equivariance", invertible=invertible)
    values = found.values
    for view in ("", "azimuth+90/", "azimuth+180/", "azimuth+270/"):
        for layer in ("pixels", "invertible"):
            key = f"{view}equivariance/linear/beyond_controls@{layer}"
            assert values[key] == pytest.approx(1, abs=1e-3), key
    assert values["azimuth/equivariance/group/deviation@pixels"] < 1e-3
    assert values["azimuth/equivariance/group/distance@pixels"] > 1
    # A third of the objects is held out, whole.
    test = data().split("test")
    row_of = {number: row for row, number in enumerate(test.index.tolist())}
    rows = torch.tensor([row_of[number] for number in found.samples["index"].tolist()])
    objects = 100 * test.targets[rows] + test.factors["instance"][rows]
    assert len(objects.unique()) == 2 * round(50 / 3)


def test_features_that_only_tell_the_light_are_invariant_and_have_nothing_to_explain():
    def light(images):
        return images.flatten(1).mean(dim=1, keepdim=True) @ random(1, 16)

    values = measured(invariance_error.measure, "invariance-error", light=light).values
    assert values["azimuth+90/invariance/error@light"] == pytest.approx(0, abs=1e-5)
    assert values["azimuth/invariance/error@pixels"] > 0.3
    found = measured(linear_equivariance.measure, "linear-equivariance", light=light)
    assert "equivariance/linear/explained@light" not in found.values
    assert any("undefined" in note and "light" in note for note in found.notes)


def test_layers_that_are_not_finite_are_left_out():
    def broken(images):
        return torch.where(images.flatten(1) > 0.3, torch.nan, images.flatten(1))

    found = measured(linear_equivariance.measure, "linear-equivariance", broken=broken)
    assert "broken is left out: not all of its numbers are finite" in found.notes
    assert not any(key.endswith("@broken") for key in found.values)


def test_objects_are_divided_whole():
    targets = torch.arange(3).repeat_interleave(50)
    instances = torch.arange(5).repeat(30)
    division = divide_objects(targets, instances, torch.arange(150))
    for label in range(3):
        of_class = targets == label
        held = instances[of_class & division.held_out].unique()
        assert len(held) == 2
        kept = of_class & ~division.held_out
        assert not torch.isin(instances[kept], held).any()
        for one in instances[kept].unique():
            assert len(division.fold[kept & (instances == one)].unique()) == 1
    alone = divide_objects(targets, torch.zeros_like(targets), torch.arange(150))
    assert not alone.held_out.any()


@pytest.mark.parametrize("objects", range(2, 7))
def test_maps_are_fitted_however_few_objects_a_class_has(objects):
    """With a turn of the features that is the same for all objects, nothing is left."""
    generator = torch.Generator().manual_seed(0)
    count = 120 * objects
    features = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    turned = features[:, [1, 0, 3, 2]] * torch.tensor([1.0, -1.0, 1.0, -1.0])
    targets = torch.arange(count) % 2
    instances = torch.arange(count) // 2 % objects
    division = divide_objects(targets, instances, torch.arange(count))
    for label in (0, 1):
        for half in (division.fold < 2, division.fold >= 2):
            assert (half & ~division.held_out & (targets == label)).any()
    fit = linear_equivariance_of(features, turned[:, None], targets, division, width=4)
    assert fit.overall().explained.item() == pytest.approx(1, abs=1e-6)


def test_what_cannot_be_compared_is_told():
    with pytest.raises(UserError, match="it records no instance"):
        find_partners(Flat().split("test"), GridView("azimuth", 90))
    with pytest.raises(UserError, match=r"carousel has a partner for each of azimuth\+45: ask"):
        image_subset(data(), [GridView("azimuth", 45)], 10)
    adapter = TypeAdapter[MeasureEntry](MeasureEntry)
    for grid, message in (
        ({"azimuth": {"start": 0, "stop": 90, "step": 90}}, "leave azimuth 0 out"),
        ({"azimuth": {"start": 360, "stop": 360, "step": 1}}, "leave azimuth 360 out"),
        ({"lighting": {"start": 1, "stop": 1, "step": 1}}, "other views of lighting are other"),
    ):
        with pytest.raises(ValidationError, match=message):
            adapter.validate_python({"measure": "invariance-error", "grid": grid})


def test_a_change_is_no_place():
    assert GridView("azimuth", 20).change_key == "azimuth+20"
    assert GridView("azimuth", -20.5).change_key == "azimuth-20.5"
    assert GridView("rotation", -20).change_key == "rotation=-20"
