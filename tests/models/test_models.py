"""Contract and geometry of every registered model."""

import re

import pytest
import torch
from torch import nn

from capsbench.conformance.contract import CHECKS, run_check
from capsbench.conformance.learning import loss
from capsbench.conformance.prediction import forward, prediction
from capsbench.conformance.subject import Subject
from capsbench.contracts import Batch, one_hot
from capsbench.errors import UserError
from capsbench.models._filter_bank import OrbitConvolution
from capsbench.models._presences import log_presences
from capsbench.names import find, table
from capsbench.viewpoint.views import Views

NAMES = sorted(table("models"))
SMALLEST = {"capsnet-dr": 17, "capsnet-dr-code": 17, "capsnet-em": 17, "cnn-small": 8}

# The first layers with weights that an image passes.
CONVOLUTIONS = (nn.Conv2d, OrbitConvolution)

WITHOUT_LAYERS = ("averaged",)  # several passes of another model

every_model = pytest.mark.parametrize("name", NAMES)

# They compile the same graph as `capsnet-em`, with other constants, for seconds.
SAME_GRAPH = ("capsnet-em-small", "capsnet-em-paper")


def slow_if_compiled_before(name, check):
    compiled = name in SAME_GRAPH and check.__name__ == "compilation"
    marks = pytest.mark.slow if compiled else ()
    return pytest.param(name, check, marks=marks, id=f"{check.__name__}-{name}")


@pytest.fixture
def subject(small):
    def describe(name, image_shape=(1, 28, 28), num_classes=10):
        return Subject(find("models", name).load(), image_shape, num_classes, small(name))

    return describe


def draw(image_shape=(1, 28, 28), num_classes=10, count=4):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, *image_shape, generator=generator)
    targets = torch.arange(count) % num_classes
    return Batch(images, targets, Views.identity(count), torch.arange(count))


@pytest.mark.parametrize(
    ("name", "check"),
    [slow_if_compiled_before(name, check) for name in NAMES for check in CHECKS],
)
def test_every_model_satisfies_the_contract(subject, name, check):
    result = run_check(check, subject(name))
    of_layers = check.__name__ in ("layers_of_interest", "declared_transformations")
    status = "not applicable" if of_layers and name in WITHOUT_LAYERS else "passed"
    assert result.status == status, f"{result.detail}\n{result.traceback}"


@every_model
@pytest.mark.parametrize(("image_shape", "num_classes"), [((3, 40, 40), 7), ((1, 24, 31), 2)])
@pytest.mark.parametrize("check", [forward, prediction, loss], ids=lambda check: check.__name__)
def test_other_images_and_classes_are_supported(subject, name, image_shape, num_classes, check):
    result = run_check(check, subject(name, image_shape, num_classes))
    assert result.status == "passed", f"{result.detail}\n{result.traceback}"


@every_model
def test_too_small_images_are_refused_with_the_models_name(build, name):
    with pytest.raises(UserError) as refusal:
        build(name, (1, 1, 1))
    size = re.search(rf"{name}.*?(\d+) x \1", str(refusal.value))
    assert size is not None
    assert int(size[1]) == SMALLEST.get(name, int(size[1]))


@every_model
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_every_model_works_in_its_weights_precision(build, name, dtype):
    model, batch = build(name).to(dtype), draw()
    batch.images = batch.images.to(dtype)
    loss = model.loss(model(batch.images), batch, 0.5)
    # A loss is computed in 32 bits at least.
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


# Layers of interest


def activations(model, images):
    """Return the layers of interest with their outputs, recorded by forward hooks."""
    outputs = {}

    def record(name, index):
        def hook(module, inputs, output):
            outputs[name] = output if index is None else output[index]

        return hook

    layers = model.layers_of_interest()
    for name, layer in layers.items():
        model.get_submodule(layer.module).register_forward_hook(record(name, layer.output))
    model(images)
    return {name: (layer, outputs[name]) for name, layer in layers.items()}


def rows_and_columns(layer, output):
    """Return the axes of the activation's rows and columns; None for a list or a vector."""
    if layer.kind == "map":
        return 2, 3
    on_map = {"pose": output.dim() >= 5, "presence": output.dim() == 4, "vector": False}
    return (1, 2) if on_map[layer.kind] else None


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_LAYERS])
def test_every_presence_of_a_layer_has_a_pose(build, name):
    recorded = activations(build(name).eval(), draw().images)
    assert recorded
    for layer, output in recorded.values():
        if layer.kind == "presence":
            poses = [o for other, o in recorded.values() if other.module == layer.module]
            assert all(o.shape[: output.dim()] == output.shape for o in poses)


# Units of the transforming autoencoder depend on the whole image and form no map. A spatial
# transformer moves the image before the first map.
WITHOUT_MAPS = (*WITHOUT_LAYERS, "transforming-autoencoder", "cnn-stn")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_MAPS])
def test_positions_of_a_layer_are_centred_where_it_states(build, name):
    """The pixels that affect a position are centred at offset + stride * position, in both axes."""
    # One iteration: with more, neighbours compete, and each position depends on all others.
    more = {"iterations": 1} if name.startswith("capsnet-em") else {}
    model = build(name, (1, 40, 48), **more).eval()
    first = next(module for module in model.modules() if isinstance(module, CONVOLUTIONS))
    received = []

    def cut(module, inputs):  # earlier operations, such as standardisation, depend on all pixels
        received.append(inputs[0].detach().requires_grad_())
        return (received[0],)

    first.register_forward_pre_hook(cut)
    recorded = activations(model, draw((1, 40, 48), count=64).images)
    on_map = 0
    for layer, output in recorded.values():
        axes = rows_and_columns(layer, output)
        if axes is None:
            assert (layer.stride, layer.offset) == (1, 0)
            continue
        on_map += 1
        position = [output.shape[axis] // 2 for axis in axes]
        selected = output.select(axes[1], position[1]).select(axes[0], position[0])
        (gradient,) = torch.autograd.grad(selected.square().sum(), received[0], retain_graph=True)
        affecting = gradient.abs().sum(dim=(0, 1)) > 0
        for axis, number in enumerate(position):
            pixels = affecting.any(dim=1 - axis).nonzero()
            centre = (pixels.min() + pixels.max()).item() / 2
            assert centre == layer.offset + layer.stride * number
            last = layer.offset + layer.stride * (output.shape[axes[axis]] - 1)
            assert last <= received[0].shape[2 + axis] - 1
    assert on_map


# Single models


def test_cnn_divides_the_cross_entropy_among_the_objects_of_an_image(build):
    model, batch = build("cnn-small"), draw()
    prediction = model(batch.images)
    logs = prediction.scores.log_softmax(dim=1)
    batch.targets = one_hot(batch.targets, 10)
    batch.targets[:, 7] = 1
    expected = -(logs.diagonal() + logs[:, 7]).mean() / 2
    torch.testing.assert_close(model.loss(prediction, batch, 0.5), expected)


@pytest.mark.parametrize("value", [0.0, 1e-30, 1.0])
def test_equal_presences_have_equal_probabilities(value):
    probabilities = log_presences(torch.full((2, 4), value)).softmax(dim=-1)
    torch.testing.assert_close(probabilities, torch.full((2, 4), 0.25))
