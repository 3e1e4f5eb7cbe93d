"""Augmentation: its form in a recipe, its draws, and what is refused."""

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from kornia import augmentation as kornia_augmentation
from kornia.augmentation import auto

from capsbench.data.augmentation import AugmentationOperation
from capsbench.data.augmenter import (
    Augmenter,
    build_operation,
    find_operation,
    operations,
    require_fit,
)
from capsbench.data.randomness import derive
from capsbench.datamodules.digits import Digits
from capsbench.datamodules.multimnist import MultiMNIST
from capsbench.errors import UserError
from capsbench.training.recipe import ProtocolRecipe
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp
from tests.data.made_up import Flat, Turntable, evaluated_images

VIEWS = ViewRange(rotation=[-20, 20], shift=[-1, 1])
ERASING = {"RandomErasing": {"p": 0.5, "scale": [0.05, 0.2]}}
SEVERAL = ["RandAugment", {"RandomGaussianNoise": {"std": 0.4, "p": 1}}, ERASING]
# Arguments of the operations that have no defaults for some.
REQUIRED = {
    "CenterCrop": {"size": [16, 16]},
    "LongestMaxSize": {"max_size": 16},
    "PadTo": {"size": [16, 16]},
    "RandomAffine": {"degrees": 10, "translate": [0.1, 0.1]},
    "RandomCrop": {"size": [16, 16], "padding": 2},
    "RandomFisheye": {"center_x": [-0.3, 0.3], "center_y": [-0.3, 0.3], "gamma": [0.9, 1]},
    "RandomGaussianBlur": {"kernel_size": [3, 3], "sigma": [0.1, 2]},
    "RandomMotionBlur": {"kernel_size": 3, "angle": 35, "direction": 0.5},
    "RandomRain": {"drop_height": [2, 6], "drop_width": [-2, 2]},
    "RandomResizedCrop": {"size": [16, 16]},
    "RandomRotation": {"degrees": 30},
    "RandomRotation90": {"times": [-1, 1]},
    "RandomShear": {"shear": 10},
    "Resize": {"size": [16, 16]},
    "SmallestMaxSize": {"max_size": 16},
}


def recipe_operations(entries):
    return ProtocolRecipe(steps=1, augmentation=entries).augmentation


def flat(entries, *, cls=Flat, **more):
    more = {"views": VIEWS, "batch_size": 6, "seed": 3, **more}
    return cls(augmentation=recipe_operations(entries), **more)


def training_batch(data, number, rank=0, world=1):
    """Return a batch of the training stream, as process ``rank`` sees it."""
    stream = data.train_dataloader()
    stream.share = slice(rank, None, world)
    return data.on_after_batch_transfer(stream[number], 0)


def test_the_form_in_a_recipe_survives_its_record():
    recipe = ProtocolRecipe(steps=1, augmentation=["RandomInvert", "RandAugment", ERASING])
    assert recipe.model_dump(mode="json")["augmentation"] == [
        {"RandomInvert": {}},
        {"RandAugment": {"n": 2, "m": 9}},
        ERASING,
    ]
    assert ProtocolRecipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert ProtocolRecipe.model_validate(recipe.model_dump()) == recipe
    assert AugmentationOperation({"RandAugment": {"m": 5}}).arguments == {"n": 2, "m": 5}
    assert str(recipe.augmentation[2]) == "RandomErasing(p=0.5, scale=[0.05, 0.2])"


@pytest.mark.parametrize(
    "entry", [3, {}, {"a": {}, "b": {}}, {"RandomErasing": 1}, {"RandomErasing": {"p": np.inf}}]
)
def test_another_form_is_refused(entry):
    with pytest.raises(UserError, match="augmentation"):
        ProtocolRecipe(steps=1, augmentation=[entry])


@pytest.mark.parametrize(
    "arguments",
    [
        *({name: value} for name in ("p", "p_batch") for value in ("abc", None, [0.5], 2, -1)),
        {"p": True},
        *({name: value} for name in ("keepdim", "same_on_batch") for value in ("no", 1, None)),
    ],
    ids=str,
)
def test_common_arguments_are_checked_by_the_schema(arguments):
    (name,) = arguments
    words = f"{name} of RandomHorizontalFlip should be (a number|true)"
    with pytest.raises(UserError, match=words):
        ProtocolRecipe(steps=1, augmentation=[{"RandomHorizontalFlip": arguments}])
    valid = {"p": 0, "p_batch": 1.0, "keepdim": False, "same_on_batch": True}
    (entry,) = recipe_operations([{"RandomHorizontalFlip": valid}])
    assert entry.arguments == valid


def test_a_batch_is_what_kornia_makes_under_the_same_seed():
    plain = training_batch(flat([]), 2)
    augmented = training_batch(flat(SEVERAL), 2)
    torch.manual_seed(derive(3, "augmentation", 2))
    policy, noise, erasing = (
        auto.RandAugment(2, 9),
        kornia_augmentation.RandomGaussianNoise(std=0.4, p=1),
        kornia_augmentation.RandomErasing(p=0.5, scale=(0.05, 0.2)),
    )
    # Grey images have three equal channels for the policy.
    expected = policy(plain.images.expand(-1, 3, -1, -1))[:, :1].clamp(0, 1)
    expected = erasing(noise(expected).clamp(0, 1)).clamp(0, 1)
    assert torch.equal(augmented.images, expected)
    assert not torch.equal(augmented.images, plain.images)
    assert torch.equal(augmented.index, plain.index)
    assert torch.equal(augmented.targets, plain.targets)
    assert torch.equal(augmented.views.rotation, plain.views.rotation)


def test_draws_are_functions_of_seed_and_batch_alone():
    images = [training_batch(flat(SEVERAL), 1).images for _ in range(2)]
    assert torch.equal(*images)
    data = flat(SEVERAL)
    for number in (4, 0):  # earlier batches change nothing
        training_batch(data, number)
    assert torch.equal(training_batch(data, 1).images, images[0])
    augmenter = data._augmenter
    same = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    different = [augmenter(same, derive(seed, "augmentation", t)) for seed, t in [(0, 0), (0, 1)]]
    different.append(augmenter(same, derive(1, "augmentation", 0)))
    assert not any(torch.equal(a, b) for a, b in pairwise(different))


def test_no_other_draw_is_disturbed():
    def states():
        numpy_state = str(np.random.get_state())  # noqa: NPY002 - the global generator
        return torch.get_rng_state().numpy().tobytes(), numpy_state, random.getstate()

    names = [name for name in sorted(operations()) if name != "RandomDissolving"]
    entries = [AugmentationOperation({name: REQUIRED.get(name, {})}) for name in names]
    before = states()
    for entry in entries:
        require_fit(entry, (3, 16, 16))
        Augmenter([entry])(torch.rand(2, 3, 16, 16, generator=torch.Generator()), 0)
    assert states() == before


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_augmented_batch(world):
    alone = training_batch(flat(SEVERAL), 3)
    shares = [training_batch(flat(SEVERAL), 3, rank, world) for rank in range(world)]
    for field in ("images", "targets", "index"):
        together = torch.stack([getattr(share, field) for share in shares], dim=1).flatten(0, 1)
        assert torch.equal(together, getattr(alone, field))
    rotation = torch.stack([share.views.rotation for share in shares], dim=1).flatten()
    assert torch.equal(rotation, alone.views.rotation)


def test_a_share_has_the_poses_of_its_images():
    alone = training_batch(flat(["RandomInvert"], cls=Turntable), 0)
    share = training_batch(flat(["RandomInvert"], cls=Turntable), 0, rank=1, world=2)
    assert torch.equal(share.poses, alone.poses[1::2])


def test_a_resumed_stream_continues_with_the_same_images():
    data = flat(SEVERAL)
    whole = [data.on_after_batch_transfer(batch, 0).images for batch in data.train_dataloader()]
    stream = flat(SEVERAL).train_dataloader()
    stream.load_state_dict({"position": 2})
    resumed = [flat(SEVERAL).on_after_batch_transfer(batch, 0).images for batch in stream]
    assert len(whole) == 5
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], resumed, strict=True))


def test_without_augmentation_nothing_is_drawn(monkeypatch):
    monkeypatch.setattr(Augmenter, "__call__", lambda *_: pytest.fail("called"))
    assert training_batch(flat([]), 0).images.shape == (6, 1, 8, 8)
    assert len(flat([]).train_dataloader()[0].images) == 6


@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluation_images_are_never_augmented(split):
    plain, augmented = (evaluated_images(flat(e), split) for e in ([], SEVERAL))
    assert plain.keys() == augmented.keys()
    assert all(torch.equal(plain[number], augmented[number]) for number in plain)


def test_images_stay_in_their_range_and_type():
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    augmenter = Augmenter(recipe_operations([{"RandomGaussianNoise": {"std": 5.0, "p": 1.0}}]))
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        result = augmenter(images.to(dtype), 0)
        assert result.dtype == dtype
        assert (float(result.min()), float(result.max())) == (0, 1)


@pytest.mark.parametrize("name", ["RandAugment", "AutoAugment", "TrivialAugment"])
def test_policies_keep_grey_images_grey(name):
    policy = build_operation(AugmentationOperation(name))
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    for seed in range(20):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            changed = policy(images.expand(-1, 3, -1, -1))
        torch.testing.assert_close(changed, changed[:, :1].expand_as(changed))


def test_every_operation_of_kornia_is_known_or_refused_with_a_reason():
    for name, cls in vars(kornia_augmentation).items():
        if name not in operations() and name.startswith("Random") and isinstance(cls, type):
            with pytest.raises(UserError, match=r"mixes|volumes"):
                find_operation(name)
    assert all(find_operation(name) is cls for name, cls in operations().items())
    assert {"RandomElasticTransform", "ColorJiggle", "RandAugment"} <= operations().keys()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("RandomErasin", "did you mean 'RandomErasing'"),
        ("RandAugmented", "did you mean 'RandAugment'"),
        ("AugmentationBase2D", "unknown augmentation"),
        ("RandomMixUpV2", "mixes images"),
        ("RandomCutMixV2", "mixes images"),
        ("RandomMosaic", "mixes images"),
        ("RandomJigsaw", "mixes images"),
        ("Normalize", r"out of \[0, 1\]"),
        ("Denormalize", r"out of \[0, 1\]"),
        ("RandomAffine3D", "volumes"),
        ("VideoSequential", "container"),
    ],
)
def test_what_is_no_augmentation_is_refused(name, words):
    with pytest.raises(UserError, match=words):
        flat([name])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"RandomErasing": {"scal": [0, 1]}}, "did you mean 'scale'"),
        ({"RandomErasing": {"scale": [2, 1]}}, r"smaller than scale\[1\]"),
        ("RandomAffine", "RandomAffine needs the argument 'degrees'"),
        ({"RandomMotionBlur": {"kernel_size": 3}}, "RandomMotionBlur needs the argument 'angle'"),
        ({"RandAugment": {"m": 30}}, r"\(0, 30\)"),
        ({"AutoAugment": {"policy": "foo"}}, "augmentation AutoAugment.*Invalid policy"),
        ({"AutoAugment": {"policy": [[["foo", 0, 1]]]}}, "augmentation AutoAugment.*'foo'"),
        ({"RandAugment": {"policy": [[["sheer_x", -1, 1]]], "n": 1}}, "sheer_x"),
    ],
)
def test_wrong_arguments_are_refused_with_the_name_of_the_operation(entry, words):
    with pytest.raises(UserError, match=words):
        flat([entry])


@pytest.mark.parametrize(
    ("entry", "shape", "words"),
    [
        ("RandomHue", (1, 28, 28), "do not fit"),
        ({"RandomHue": {"p": 0.0}}, (1, 28, 28), "do not fit"),
        ("RandAugment", (2, 48, 48), "RandomSaturation"),
        ("RandomRain", (3, 16, 16), "drop"),  # some of the drops that are drawn are higher
        ({"RandomGaussianBlur": {"kernel_size": 31, "sigma": [1, 2]}}, (1, 8, 8), "small"),
        ({"Resize": {"size": [20, 20]}}, (1, 28, 28), "would become 1x20x20"),
    ],
)
def test_operations_that_do_not_fit_the_images_are_refused(entry, shape, words):
    with pytest.raises(UserError, match=words):
        require_fit(AugmentationOperation(entry), shape)
    require_fit(AugmentationOperation("RandAugment"), (1, 8, 8))


@pytest.mark.parametrize(("operation", "sign"), [("RandomRotation", 1), ("RandomAffine", -1)])
def test_kornia_rotates_counter_clockwise_in_one_class_and_clockwise_in_the_other(operation, sign):
    image = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    (entry,) = recipe_operations([{operation: {"degrees": [30 * sign, 30 * sign], "p": 1.0}}])
    view = replace(Views.identity(1), rotation=torch.tensor([30.0], dtype=torch.float64))
    expected = warp(image, view.matrices(9, 9))
    torch.testing.assert_close(Augmenter([entry])(image, 0), expected, atol=1e-5, rtol=0)


def test_kornia_shears_the_other_way():
    image = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    (entry,) = recipe_operations(
        [{"RandomAffine": {"degrees": 0, "shear": [-9, -9, 0, 0], "p": 1}}]
    )
    view = replace(Views.identity(1), shear=torch.tensor([9.0], dtype=torch.float64))
    expected = warp(image, view.matrices(9, 9))
    torch.testing.assert_close(Augmenter([entry])(image, 0), expected, atol=1e-5, rtol=0)


def test_images_of_several_objects_are_not_augmented():
    with pytest.raises(UserError, match="several objects"):
        MultiMNIST(augmentation=recipe_operations(["RandomInvert"]))
    Digits().require_augmentation(recipe_operations(["RandomInvert"]))
