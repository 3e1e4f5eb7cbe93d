"""Maps of poses place by place: fields of vectors whose turning is known, end to end and alone."""

import pytest
import torch
from pydantic import TypeAdapter
from torch.nn.functional import pad

from capsbench.measures import MeasureEntry, SpatialEquivariance
from capsbench.measures.affine_maps import divide
from capsbench.measures.fibre_maps import FibreMaps
from capsbench.measures.spatial_equivariance import measure
from capsbench.names import find
from tests.measures.layered import Layered, random

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
    maps = FibreMaps(2)
    maps.update(torch.zeros(8, 2, 3, 0), torch.zeros(8, 2, 3, 0), divide(torch.arange(8), 0))
    assert all(value.isnan() for value in maps.compute())
    maps.update(torch.ones(1, 2, 3, 4), torch.zeros(1, 2, 3, 4), divide(torch.arange(1), 0))
    assert all(value.isnan() for value in maps.compute())


def test_against_least_squares_for_each_type():
    moved = random(60, 2, 3, 5, seed=1)
    turn = random(2, 3, 3, seed=2)
    found = torch.einsum("cij,ncjp->ncip", turn, moved) + 0.3 * random(60, 2, 3, 5, seed=3)
    index = torch.arange(60)
    division = divide(index, 0)
    maps = FibreMaps(2)
    for rows in index.split(23):
        maps.update(moved[rows], found[rows], division.of(rows))
    explained = maps.compute().explained.item()
    held, kept = division.held_out, ~division.held_out
    residual = change = 0.0
    for c in range(2):
        x, y = (each[:, c].double().transpose(1, 2) for each in (moved, found))
        one = torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)
        fit = torch.linalg.lstsq(one[kept].flatten(0, 1), y[kept].flatten(0, 1)).solution
        residual += (y[held] - one[held] @ fit).square().sum().item()
        change += (y[held] - x[held]).square().sum().item()
    assert explained == pytest.approx(1 - residual / change, abs=2e-3)
