"""Maps of poses place by place: fields of vectors whose turning is known, end to end and alone."""

import matplotlib.pyplot as plt
import pytest
import torch
from pydantic import TypeAdapter
from torch.nn.functional import pad

from capsbench.measures import MeasureEntry, SpatialEquivariance
from capsbench.measures._affine_maps import divide
from capsbench.measures._pose_maps import (
    FibreEquivariance,
    FibreFit,
    FibreSums,
    fibre_equivariance,
    over_fits,
)
from capsbench.measures.spatial_equivariance import measure
from capsbench.names import find
from tests.measures.layered import Layered, random

ROWS = torch.arange(60)
TURNS = {"rotation": {"start": -90, "stop": 180, "step": 90}}


def slopes(images):
    """(N, H, W, 1, 2): how brightness grows to the right and downwards."""
    padded = pad(images[:, 0], (1, 1, 1, 1))
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    return torch.stack([across, down], dim=-1)[..., None, :]


def measured(**layers):
    content = {"measure": "spatial-equivariance", "grid": TURNS, "images": 150}
    entry = TypeAdapter(MeasureEntry).validate_python(content)
    model = Layered(**{name: (one, "pose") for name, one in layers.items()})
    data, steps = find("datamodules", "digits").load()(), []
    assert isinstance(entry, SpatialEquivariance)
    found = measure(entry, model.eval(), data, "cpu", lambda: steps.append(1))
    assert len(steps) == entry.steps
    return found


def test_a_field_of_slopes_turns_in_itself_and_a_map_explains_it_wholly():
    def matrices(images):
        field = slopes(images)
        return torch.stack([field, field.roll(1, dims=-1)], dim=-2).repeat(1, 1, 1, 2, 1, 1)

    found = measured(slopes=slopes, matrices=matrices)
    for layer in ("slopes", "matrices"):
        for view in ("rotation=90", "rotation=-90", "rotation=180"):
            fibre = f"{view}/equivariance/fibre"
            assert found.values[f"{fibre}/explained@{layer}"] == pytest.approx(1, abs=1e-6)
            assert found.values[f"{fibre}/error@{layer}"] < 1e-3
            assert found.values[f"{view}/equivariance/spatial/error@{layer}"] > 0.5
        assert found.values[f"rotation/equivariance/fibre/beyond_controls@{layer}"] > 0.999
    # A quarter turn is as far from no change as (1, 0) from (0, 1), half a turn is twice 1.
    off = found.values["rotation=90/equivariance/fibre/distance@slopes"]
    assert off == pytest.approx(2**0.5, abs=1e-3)
    assert found.values["rotation=180/equivariance/fibre/distance@slopes"] == pytest.approx(2, 1e-3)


def test_poses_that_do_not_turn_leave_nothing_to_explain():
    found = measured(still=lambda images: images[:, 0, :, :, None, None].repeat(1, 1, 1, 1, 3))
    assert "rotation=90/equivariance/fibre/explained@still" not in found.values
    assert found.values["rotation=90/equivariance/spatial/error@still"] == 0
    assert any("undefined" in note and "fibre/explained@still" in note for note in found.notes)


def test_poses_that_have_nothing_to_do_with_the_view_are_not_explained():
    hashed = random(32, 32)

    def noise(images):
        return (1e3 * images[:, 0] * hashed).sin()[..., None, None].repeat(1, 1, 1, 1, 2)

    values = measured(noise=noise).values
    # As the shuffled control: to forget the pose is half the error of an unrelated one.
    for view in ("rotation=90", "rotation=180"):
        assert values[f"{view}/equivariance/fibre/beyond_controls@noise"] < 0.25


def test_without_places_or_images_nothing_is_said():
    nowhere = torch.zeros(8, 2, 3, 0)
    empty = fibre_equivariance(nowhere, nowhere, divide(ROWS[:8], 0))
    assert all(value.isnan() for value in empty.shares.values())
    one = torch.ones(1, 2, 3, 4)
    single = fibre_equivariance(one, -one, divide(ROWS[:1], 0))
    assert all(value.isnan() for value in single.shares.values())


def related(count=60):
    """Poses, and others that a map for each type and noise make of them."""
    moved = random(count, 2, 3, 5, seed=1)
    noise = 0.3 * random(count, 2, 3, 5, seed=3)
    return moved, torch.einsum("cij,ncjp->ncip", random(2, 3, 3, seed=2), moved) + noise


def test_against_least_squares_for_each_type():
    moved, found = related()
    division = divide(ROWS, 0)
    held, kept = division.held_out, ~division.held_out
    residual = change = 0.0
    for c in range(2):
        x, y = (each[:, c].double().transpose(1, 2) for each in (moved, found))
        one = torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)
        fit = torch.linalg.lstsq(one[kept].flatten(0, 1), y[kept].flatten(0, 1)).solution
        residual += (y[held] - one[held] @ fit).square().sum().item()
        change += (y[held] - x[held]).square().sum().item()
    explained = fibre_equivariance(moved, found, division).explained.item()
    assert explained == pytest.approx(1 - residual / change, abs=2e-3)


def test_the_control_is_what_pairs_of_different_images_give_on_average():
    """Shuffled many times over, pairs give the control that is found without drawing any."""
    moved, found = related(3000)
    division = divide(torch.arange(3000), 0)
    expected = fibre_equivariance(moved, found, division).shuffled.item()
    kept = (~division.held_out).nonzero()[:, 0]
    shuffled = []
    for seed in range(5):
        order = kept[torch.randperm(len(kept), generator=torch.Generator().manual_seed(seed))]
        residual = change = 0.0
        for c in range(2):
            x, y = (each[:, c].double().transpose(1, 2) for each in (moved, found))
            one = torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)
            pairs = one[kept].flatten(0, 1), y[order].flatten(0, 1)
            fit = torch.linalg.lstsq(*pairs).solution
            held = division.held_out
            residual += (y[held] - one[held] @ fit).square().sum().item()
            change += (y[held] - x[held]).square().sum().item()
        shuffled.append(1 - residual / change)
    assert expected == pytest.approx(sum(shuffled) / len(shuffled), abs=0.02)


def test_neither_batches_nor_their_order_count():
    moved, found = related()
    whole = fibre_equivariance(moved, found, divide(ROWS, 0))
    metric = FibreEquivariance(moved.shape[1:])
    for rows in reversed(ROWS.split(23)):
        metric.update(moved[rows], found[rows], divide(rows, 0))
    torch.testing.assert_close(metric.compute().shares, whole.shares)
    figure, axes = metric.plot()
    assert axes.lines[0].get_ydata() == pytest.approx([whole.explained.item()])
    plt.close(figure)


def test_several_views_count_by_how_much_they_change():
    """Changes of 100 and of 1, of which 0.95 and -1 are explained: 7 is left of 101."""
    one, other = (
        FibreFit.of(
            FibreSums(*(torch.tensor(each) for each in (left, change, change, change, change))),
            torch.tensor(0.5),
        )
        for left, change in ((5.0, 100.0), (2.0, 1.0))
    )
    assert one.explained.item() == pytest.approx(0.95)
    assert other.explained.item() == pytest.approx(-1)
    assert over_fits([one, other]).explained.item() == pytest.approx(1 - 7 / 101)
    nothing = FibreFit.of(FibreSums(*5 * (torch.tensor(torch.nan),)), torch.tensor(torch.nan))
    assert nothing.explained.isnan()
    assert over_fits([one, nothing]).explained.item() == pytest.approx(0.95)
