"""What every registered model must do, and the numbers of the papers."""

import re
from typing import Any

import pytest
import torch
from torch import nn

from capsbench.contracts import Batch, Prediction, one_hot
from capsbench.errors import UserError
from capsbench.models._presences import log_normalized
from capsbench.models.capsnet_em import standardize
from capsbench.names import find, table
from capsbench.viewpoint.views import Views

NAMES = sorted(table("models"))
# Where the default is too big for a test. A model that is not named here is tested as it is.
SMALL: dict[str, dict[str, Any]] = {
    "capsnet-dr": {
        "channels": 8,
        "primary_types": 3,
        "primary_dim": 4,
        "class_dim": 6,
        "decoder": (8,),
    },
    "capsnet-em": {"channels": 8, "primary_types": 3, "types": (4, 5), "strides": (2, 1)},
    "cnn-small": {"width": 8, "hidden": 16},
}
SHAPES = [((1, 28, 28), 10), ((3, 40, 40), 7), ((1, 24, 31), 2)]
SMALLEST = {"capsnet-dr": 17, "capsnet-em": 17, "cnn-small": 8}

every_model = pytest.mark.parametrize("name", NAMES)


def build(name, image_shape=(1, 28, 28), num_classes=10, seed=0, **more):
    torch.manual_seed(seed)
    arguments = SMALL.get(name, {}) | more
    return find("models", name).load()(
        image_shape=image_shape, num_classes=num_classes, **arguments
    )


def draw(image_shape=(1, 28, 28), num_classes=10, count=4):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, *image_shape, generator=generator)
    targets = torch.arange(count) % num_classes
    return Batch(images, targets, Views.identity(count), torch.arange(count))


@every_model
@pytest.mark.parametrize(("image_shape", "num_classes"), SHAPES)
def test_prediction_has_its_shapes_and_the_loss_is_finite(name, image_shape, num_classes):
    model = build(name, image_shape, num_classes)
    batch = draw(image_shape, num_classes)
    prediction = model(batch.images, batch.views)
    assert isinstance(prediction, Prediction)
    assert prediction.scores.shape == (4, num_classes)
    assert prediction.scores.dtype == torch.float32
    if prediction.presences is not None:
        assert prediction.presences.shape == (4, num_classes)
        assert ((prediction.presences >= 0) & (prediction.presences <= 1)).all()
        assert prediction.poses is not None
        assert prediction.poses.shape[:2] == (4, num_classes)
    if prediction.reconstruction is not None:
        assert prediction.reconstruction.shape == (4, *image_shape)
        drawn = prediction.reconstruction
        assert ((drawn >= 0) & (drawn <= 1)).all()
    for progress in (0.0, 0.5, 1.0):
        model.advance(progress)
        loss = model.loss(model(batch.images), batch, progress)
        assert loss.shape == () and loss.isfinite()


@every_model
def test_every_parameter_learns(name):
    model, batch = build(name), draw(count=8)
    model.loss(model(batch.images), batch, 0.5).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name


@every_model
def test_a_few_steps_lower_the_loss(name):
    model, batch = build(name), draw()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    losses = []
    for _ in range(20):
        loss = model.loss(model(batch.images), batch, 0.5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@every_model
def test_images_do_not_see_each_other(name):
    model = build(name).eval()
    images = draw(count=3).images.requires_grad_()
    together = model(images)
    for part, alone in zip(together, model(images[1:2]), strict=True):
        if part is not None:
            torch.testing.assert_close(part[1:2], alone, rtol=1e-4, atol=1e-5)
    (gradient,) = torch.autograd.grad(together.scores[1].square().sum(), images)
    assert [bool(image.any()) for image in gradient] == [False, True, False]


@every_model
def test_smallest_size_works_and_one_pixel_less_is_refused_by_name(name):
    with pytest.raises(UserError, match="at least") as refusal:
        build(name, (1, 1, 1))
    found = re.search(r"at least (\d+) x \1 pixels", str(refusal.value))
    assert found is not None
    size = int(found[1])
    assert size == SMALLEST.get(name, size)
    model, batch = build(name, (1, size, size)), draw((1, size, size))
    assert model.loss(model(batch.images), batch, 0.0).isfinite()
    for less in ((1, size - 1, size), (1, size, size - 1)):
        sentence = (
            f"{name} needs images of at least {size} x {size} pixels .* {less[1]} x {less[2]}"
        )
        with pytest.raises(UserError, match=sentence):
            build(name, less)


@every_model
def test_log_probabilities_are_normalised_and_rank_like_the_scores(name):
    model = build(name).eval()
    prediction = model(draw(count=16).images)
    log_probabilities = model.log_probabilities(prediction)
    assert log_probabilities.shape == (16, 10)
    torch.testing.assert_close(log_probabilities.logsumexp(dim=1), torch.zeros(16))
    assert torch.equal(log_probabilities.argmax(dim=1), prediction.scores.argmax(dim=1))


@every_model
def test_multi_hot_targets_count_like_indices(name):
    model, batch = build(name), draw()
    prediction = model(batch.images)
    loss = model.loss(prediction, batch, 0.5)
    batch.targets = one_hot(batch.targets, 10)
    torch.testing.assert_close(model.loss(prediction, batch, 0.5), loss)
    batch.targets[:, 7] = 1  # a second object in each image
    both = model.loss(prediction, batch, 0.5)
    assert both.isfinite() and both != loss


@every_model
def test_loss_is_averaged_over_the_batch(name):
    model, batch = build(name), draw()
    once = model.loss(model(batch.images), batch, 0.5)
    batch.images, batch.targets = batch.images.repeat(2, 1, 1, 1), batch.targets.repeat(2)
    torch.testing.assert_close(model.loss(model(batch.images), batch, 0.5), once)


@every_model
def test_same_seed_same_model(name):
    images = draw().images
    first, again, other = build(name), build(name), build(name, seed=1)
    for parameter, same in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(parameter, same)
    assert torch.equal(first(images).scores, again(images).scores)
    assert not torch.equal(first(images).scores, other(images).scores)


@every_model
def test_state_carries_all_that_the_training_changed(name):
    images = draw().images
    model, other = build(name).eval(), build(name, seed=1).eval()
    model.advance(1.0)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(images).scores, model(images).scores)


def test_inverse_temperature_rises_with_the_training_and_is_saved():
    images = draw().images
    model = build("capsnet-em", inverse_temperature=(0.25, 2.0))
    scores = []
    for progress, expected in ((0.0, 0.25), (0.5, 1.125), (1.0, 2.0)):
        model.advance(progress)
        assert model.state_dict()["inverse_temperature"].item() == expected
        scores.append(model(images).scores)
    assert not torch.allclose(scores[0], scores[1])
    assert not torch.allclose(scores[1], scores[2])


@every_model
def test_runs_under_autocast(name):
    model, batch = build(name), draw()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = model(batch.images)
        loss = model.loss(prediction, batch, 0.5)
        log_probabilities = model.log_probabilities(prediction)
    assert all(part.isfinite().all() for part in prediction if part is not None)
    assert loss.isfinite() and loss.dtype == torch.float32
    torch.testing.assert_close(log_probabilities.logsumexp(dim=1), torch.zeros(4))
    full = model(batch.images).scores
    torch.testing.assert_close(prediction.scores.float(), full, rtol=0.1, atol=0.1)


# Layers of interest


def activations(model, images):
    """The layers of interest with their outputs, found by forward hooks."""
    found = {}

    def keep(name, output):
        def hook(module, inputs, result):
            found[name] = result if output is None else result[output]

        return hook

    layers = model.layers_of_interest()
    for name, layer in layers.items():
        model.get_submodule(layer.module).register_forward_hook(keep(name, layer.output))
    model(images)
    return {name: (layer, found[name]) for name, layer in layers.items()}


def rows_and_columns(layer, output):
    """Where the activation's rows and columns stand; None for a list or a vector."""
    if layer.kind == "map":
        return 2, 3
    on_map = {"pose": output.dim() >= 5, "presence": output.dim() == 4, "vector": False}
    return (1, 2) if on_map[layer.kind] else None


@every_model
def test_layers_of_interest_have_the_shape_of_their_kind(name):
    model = build(name).eval()
    found = activations(model, draw().images)
    assert found
    for layer, output in found.values():
        assert len(output) == 4
        if layer.kind == "vector":
            assert output.dim() == 2
        elif layer.kind == "map":
            assert output.dim() == 4
        elif layer.kind == "presence":
            assert ((output >= 0) & (output <= 1)).all()
            poses = [o for other, o in found.values() if other.module == layer.module]
            assert all(o.shape[: output.dim()] == output.shape for o in poses)
        else:
            assert output.dim() >= 3


@every_model
def test_places_of_a_layer_lie_in_the_image_where_it_says(name):
    """The pixels that change a place are centred at offset + stride * place, in both axes."""
    # One iteration: with more, neighbours compete, and each place sees a little of all others.
    more = {"iterations": 1} if name == "capsnet-em" else {}
    model = build(name, (1, 40, 48), **more).eval()
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    received = []

    def cut(module, inputs):  # what stands before it, such as a standardisation, sees all pixels
        received.append(inputs[0].detach().requires_grad_())
        return (received[0],)

    first.register_forward_pre_hook(cut)
    found = activations(model, draw((1, 40, 48), count=64).images)
    on_map = 0
    for layer, output in found.values():
        where = rows_and_columns(layer, output)
        if where is None:
            assert (layer.stride, layer.offset) == (1, 0)
            continue
        on_map += 1
        place = [output.shape[axis] // 2 for axis in where]
        chosen = output.select(where[1], place[1]).select(where[0], place[0])
        (gradient,) = torch.autograd.grad(chosen.square().sum(), received[0], retain_graph=True)
        touched = gradient.abs().sum(dim=(0, 1)) > 0
        for axis, number in enumerate(place):
            pixels = touched.any(dim=1 - axis).nonzero()
            centre = (pixels.min() + pixels.max()).item() / 2
            assert centre == layer.offset + layer.stride * number
            last = layer.offset + layer.stride * (output.shape[where[axis]] - 1)
            assert last <= received[0].shape[2 + axis] - 1
    assert on_map


# The papers


@pytest.mark.parametrize(
    ("name", "image_shape", "num_classes", "arguments", "parameters"),
    [
        ("capsnet-dr", (1, 28, 28), 10, {}, 8_215_568),
        ("capsnet-dr", (1, 28, 28), 10, {"decoder": ()}, 6_804_224),
        ("capsnet-em", (2, 32, 32), 5, {}, 316_650),
    ],
)
def test_defaults_have_the_parameters_of_the_paper(
    name, image_shape, num_classes, arguments, parameters
):
    with torch.device("meta"):
        model = find("models", name).load()(
            image_shape=image_shape, num_classes=num_classes, **arguments
        )
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


# Particulars


def test_cnn_shares_the_cross_entropy_among_the_objects_of_an_image():
    model, batch = build("cnn-small"), draw()
    prediction = model(batch.images)
    logs = prediction.scores.log_softmax(dim=1)
    batch.targets = one_hot(batch.targets, 10)
    batch.targets[:, 7] = 1
    expected = -(logs.diagonal() + logs[:, 7]).mean() / 2
    torch.testing.assert_close(model.loss(prediction, batch, 0.5), expected)


def test_dynamic_routing_draws_the_likeliest_class_and_learns_to_draw_the_true_one():
    model, batch = build("capsnet-dr", reconstruction_weight=1.0), draw()
    prediction = model(batch.images)
    likeliest = one_hot(prediction.scores.argmax(dim=1), 10)
    assert torch.equal(prediction.reconstruction, model.decoder(prediction.poses, likeliest))

    prediction = prediction._replace(poses=torch.randn_like(prediction.poses))
    drawn = model.decoder(prediction.poses, one_hot(batch.targets, 10))
    error = (drawn - batch.images).square().sum(dim=(1, 2, 3)).mean()
    model.reconstruction_weight = 0.0
    without = model.loss(prediction, batch, 0.5)
    model.reconstruction_weight = 1.0
    torch.testing.assert_close(model.loss(prediction, batch, 0.5), without + error)


def test_model_without_a_decoder_reconstructs_nothing():
    model, batch = build("capsnet-dr", decoder=()), draw()
    prediction = model(batch.images)
    assert prediction.reconstruction is None
    assert model.loss(prediction, batch, 0.5).isfinite()


def test_em_takes_one_stride_for_each_layer_of_types():
    with pytest.raises(UserError, match=r"types \[4, 5, 6\] and strides \[2\]"):
        build("capsnet-em", types=(4, 5, 6), strides=(2,))
    model = build("capsnet-em", types=(4, 5, 6), strides=(1, 1, 1))
    assert model(draw().images).scores.shape == (4, 10)


def test_em_adds_coordinates_to_the_votes_for_the_classes_if_asked():
    images = draw().images
    told, untold = (
        build("capsnet-em", iterations=1, coordinate_addition=x)(images).poses
        for x in (True, False)
    )
    moved = told - untold  # with one iteration the means alone, by about half the map
    assert ((moved[..., :2, 3] - 0.5).abs() < 0.2).all()
    assert moved[..., :3].abs().max() < 1e-4


def test_em_does_not_see_brightness_and_contrast():
    model, images = build("capsnet-em").double(), draw().images.double()
    torch.testing.assert_close(model(0.1 + 0.5 * images).scores, model(images).scores)


def test_standardised_images_have_mean_0_and_variance_1():
    contrast = torch.tensor([0.3, 0.5, 0.8])[:, None, None, None]
    images = contrast * torch.rand(3, 2, 28, 20) + 0.2
    flat = standardize(images).flatten(start_dim=1).double()
    torch.testing.assert_close(flat.mean(dim=1), torch.zeros(3).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        flat.std(dim=1, correction=0), torch.ones(3).double(), rtol=1e-5, atol=0
    )


def test_uniform_image_becomes_zero_with_finite_gradient():
    images = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
    standardized = standardize(images)
    assert not standardized.any()
    (gradient,) = torch.autograd.grad(standardized.sum(), images)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("value", [0.0, 1e-30, 1.0])
def test_equal_presences_are_equally_likely(value):
    log_probabilities = log_normalized(torch.full((2, 4), value))
    torch.testing.assert_close(log_probabilities.exp(), torch.full((2, 4), 0.25))
