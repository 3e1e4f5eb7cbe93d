"""Layers under EM routing: shapes, parameters and checks."""

import math
from pathlib import Path

import pytest
import torch

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.coordinates import PixelCoordinates, coordinates
from capsbench.capsules.em_layers import ClassEMCapsules, ConvEMCapsules
from capsbench.capsules.em_routing import em_routing
from capsbench.capsules.em_variants import AUTHORS_CODE, AUTHORS_CODE_CLASSES, OURS, PAPER
from capsbench.errors import UserError


def children(batch=2, height=5, width=5, types=3):
    generator = torch.Generator().manual_seed(0)
    poses = torch.eye(4) + 0.3 * torch.randn(batch, height, width, types, 4, 4, generator=generator)
    return Capsules(poses, torch.rand(batch, height, width, types, generator=generator))


def test_convolutional_layer_keeps_the_map():
    layer = ConvEMCapsules(3, 4, kernel=3, stride=2)
    poses, presences = layer(children(), 0.5)
    assert poses.shape == (2, 2, 2, 4, 4, 4)
    assert presences.shape == (2, 2, 2, 4)
    assert layer.vote_shape(children(), 0.5) == (2, 2, 2, 4, 9 * 3, 16)
    assert sum(p.numel() for p in layer.parameters()) == 9 * 3 * 4 * 16 + 2 * 4


def test_class_layer_shares_its_weights_across_the_map():
    layer = ClassEMCapsules(3, 7)
    poses, presences, logits = layer(children(height=4, width=6), torch.tensor(0.5))
    assert poses.shape == (2, 7, 4, 4)
    assert presences.shape == (2, 7)
    torch.testing.assert_close(presences, logits.sigmoid())
    assert layer.vote_shape(children(height=4, width=6), 0.5) == (2, 1, 1, 7, 24 * 3, 16)
    assert sum(p.numel() for p in layer.parameters()) == 3 * 7 * 16 + 2 * 7


@pytest.mark.parametrize("added", [coordinates, None])
def test_class_layer_depends_on_positions_only_by_coordinate_addition(added):
    torch.manual_seed(0)
    layer = ClassEMCapsules(3, 7, coordinates=added)
    plain = children()
    mirrored = Capsules(*(x.flip(2) for x in plain))
    same = torch.allclose(layer(plain, 0.5).presences, layer(mirrored, 0.5).presences, atol=1e-6)
    assert same is (added is None)


def test_coordinates_are_in_the_first_two_rows_of_the_last_column():
    offsets = coordinates(2, 4, like=torch.zeros(1))
    assert offsets.shape == (2, 4, 4, 4)
    assert offsets[1, 2, :, 3].tolist() == [0.75, 0.625, 0.0, 0.0]
    assert (offsets[..., :3] == 0).all()


@pytest.mark.parametrize("size", [(32, 32), (28, 41)])
def test_coordinates_of_the_code_are_pixels_averaged_through_every_window(size):
    """Average -16..15 for 32 pixels, in hundredths, by windows of 5, 3 and 3 pixels."""
    rows, columns = (torch.arange(-(n // 2), n - n // 2) / 100 for n in size)
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))
    for kernel, stride in ((5, 2), (3, 2), (3, 1)):
        grid = torch.nn.functional.avg_pool2d(grid, kernel, stride)
    pixel_coordinates = PixelCoordinates(image_size=size, stride=4, offset=8)
    offsets = pixel_coordinates(*grid.shape[1:], like=torch.zeros(1, dtype=torch.float64))
    assert offsets.dtype == torch.float64
    torch.testing.assert_close(offsets[:, :, 0, :2], grid.permute(1, 2, 0).double())
    assert not offsets[:, :, 1:].any() and not offsets[:, :, 0, 2:].any()


LAYERS = {
    "convolutional": lambda variant: ConvEMCapsules(3, 4, kernel=3, stride=2, variant=variant),
    "classes": lambda variant: ClassEMCapsules(3, 4, coordinates=None, variant=variant),
}
every_layer = pytest.mark.parametrize("kind", LAYERS)
every_variant = pytest.mark.parametrize(
    "variant",
    [PAPER, OURS, AUTHORS_CODE, AUTHORS_CODE_CLASSES],
    ids=["text", "ours", "code", "code, classes"],
)


def build(kind, variant=PAPER):
    torch.manual_seed(0)
    return LAYERS[kind](variant).double()


def double(**sizes):
    return Capsules(*(x.double() for x in children(**sizes)))


def unbalance(monkeypatch, change):
    """Break the routing of every layer: ``change`` gets its result and the children."""

    def broken(poses, presences, *args, **kwargs):
        return change(em_routing(poses, presences, *args, **kwargs), poses)

    monkeypatch.setattr("capsbench.capsules.em_layers.em_routing", broken)


@every_layer
@every_variant
def test_every_parameter_learns(kind, variant):
    layer = build(kind, variant)
    poses, presences = layer(double(), 0.5 if variant in (PAPER, OURS) else 0.01)[:2]
    (poses.square().sum() + presences.square().sum()).backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in layer.parameters())


@every_layer
@every_variant
def test_assignments_sum_to_one_over_all_parents_of_a_child(kind, variant, monkeypatch):
    """Gritzman's third pitfall: parents at different positions compete, too."""
    layer = build(kind, variant)
    assert layer.check_couplings(double(height=6), 0.01) < 1e-12
    unbalance(
        monkeypatch, lambda result, _: result._replace(assignments=result.assignments.square())
    )
    assert layer.check_couplings(double(height=6), 0.01) > 0.1


def test_without_an_e_step_positions_of_the_code_do_not_compete():
    layer = build("convolutional", AUTHORS_CODE)
    layer.stride, layer.iterations = 1, 1
    assert layer.check_couplings(double(), 0.01) == pytest.approx(8)  # 9 windows cover the middle


def turn(degrees):
    angle = math.radians(degrees)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[0, 0] = matrix[1, 1] = math.cos(angle)
    matrix[0, 1], matrix[1, 0] = -math.sin(angle), math.sin(angle)
    return matrix


TRANSLATION = torch.eye(4, dtype=torch.float64)
TRANSLATION[0, 3] = 0.5
SIGNS = torch.tensor([1.0, -1, 1, -1])
SIGNED_PERMUTATION = torch.eye(4, dtype=torch.float64)[[2, 0, 3, 1]] * SIGNS


@every_layer
@every_variant
@pytest.mark.parametrize("transform", [turn(90), SIGNED_PERMUTATION], ids=["turn", "permutation"])
def test_routing_commutes_with_signed_permutations_of_the_pose(kind, variant, transform):
    assert build(kind, variant).check_transform(double(), 0.01, transform) < 1e-12


PAGE = Path(__file__).resolve().parents[2] / "docs" / "equations.md"
PIXELS = PixelCoordinates(image_size=(32, 32), stride=4, offset=8)


def class_layer(variant, coordinates):
    torch.manual_seed(0)
    return ClassEMCapsules(3, 4, coordinates=coordinates, variant=variant).double()


@pytest.mark.parametrize(
    ("name", "transform"),
    [
        ("quarter turn", turn(90)),
        ("turn by 30 degrees", turn(30)),
        ("translation by 0.5", TRANSLATION),
    ],
)
def test_page_has_the_errors_under_a_transform_of_the_parts(name, transform):
    """Diagonal variances commute only with quarter turns, coordinate addition with no map."""
    layers = [
        build("convolutional", PAPER),
        build("convolutional", AUTHORS_CODE),
        build("classes", PAPER),
        build("classes", AUTHORS_CODE_CLASSES),
        class_layer(PAPER, coordinates),
        class_layer(AUTHORS_CODE_CLASSES, PIXELS),
    ]
    cells = [f"{layer.check_transform(double(), 0.01, transform):.2f}" for layer in layers]
    assert f"| {' | '.join([name, *cells])} |\n" in PAGE.read_text(encoding="utf-8")


@every_layer
def test_votes_move_with_the_parts_except_coordinate_addition(kind):
    layer = build(kind)
    for transform in (turn(30), TRANSLATION):
        assert layer.check_votes(double(), 0.01, transform) < 1e-14
    assert class_layer(PAPER, coordinates).check_votes(double(), 0.01, turn(30)) > 0.01


@every_layer
@every_variant
def test_layers_accept_an_empty_batch(kind, variant):
    layer, empty = build(kind, variant), double(batch=0)
    assert layer(empty, 0.01).poses.shape == (0, *layer(double(), 0.01).poses.shape[1:])
    assert layer.check_couplings(empty, 0.01) == 0


def test_check_with_a_nan_is_nan():
    layer = build("classes")
    poses, presences = double()
    broken = Capsules(poses * math.nan, presences)
    assert math.isnan(layer.check_permutation(broken, 0.01, torch.tensor([2, 0, 1])))


def test_map_smaller_than_the_window_is_refused():
    with pytest.raises(UserError, match=r"3 x 3 .*5 x 2"):
        build("convolutional")(double(width=2), 0.01)


@every_layer
@every_variant
def test_parents_do_not_depend_on_child_order_and_other_images(kind, variant, monkeypatch):
    layer, order = build(kind, variant), torch.tensor([2, 0, 1])
    assert layer.check_permutation(double(), 0.01, order) < 1e-12
    assert layer.check_batch_independence(double(batch=3), 0.01) < 1e-12

    def first_and_average(result, poses):
        shifted = result.poses + poses[:, :1, :1, :1].mean(dim=0)
        return result._replace(poses=shifted)

    unbalance(monkeypatch, first_and_average)
    assert layer.check_permutation(double(), 0.01, order) > 1e-3
    assert layer.check_batch_independence(double(batch=3), 0.01) > 1e-3


@pytest.mark.parametrize(
    ("variant", "identity", "noise_std", "betas"),
    [
        (PAPER, 1.0, 0.1, (-0.5, -4.0)),
        (OURS, 1.0, 0.1, (0.65, -0.4)),
        (AUTHORS_CODE, 0.0, 0.3, (0.5, 0.5)),
        (AUTHORS_CODE_CLASSES, 0.0, 0.01, (2.0, 1.0)),
    ],
    ids=["text", "ours", "code", "code, classes"],
)
def test_initial_values_are_those_of_the_variant(variant, identity, noise_std, betas):
    torch.manual_seed(0)
    layer = ClassEMCapsules(16, 20, variant=variant)
    noise = layer.weights.detach() - identity * torch.eye(4)
    # Truncation at two standard deviations reduces the standard deviation by a factor of 0.88.
    assert noise.std().item() == pytest.approx(0.88 * noise_std, rel=0.03)
    assert noise.abs().max() <= 2 * noise_std * 1.0001
    assert (layer.beta_u == betas[0]).all() and (layer.beta_a == betas[1]).all()
