"""Classes of networks: fitted parameters, arguments, copies, folders of weights."""

import copy
import importlib.util
import inspect
import json
import pickle
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from capsbench.arguments import SUPPLIED_TO_MODELS, resolve
from capsbench.conformance.contract import check_contract, run_check
from capsbench.conformance.learning import gradients
from capsbench.conformance.subject import Subject
from capsbench.errors import UserError
from capsbench.models.cnn_small import CNNSmall
from capsbench.names import find
from capsbench.wrapping import LogitsModel, model_class

needs_timm = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="timm is an optional package"
)
RESNET = "torchvision.models:resnet18"
FILE = '''
import functools

from torch import nn

class Plain(nn.Module):
    """A small network."""

    def __init__(self, n_classes, in_channels: int = 3, width: int = 4, sizes=(3, 3)):
        super().__init__()
        assert isinstance(sizes, tuple)
        self.conv = nn.Conv2d(in_channels, width, sizes)
        self.head = nn.Linear(width, n_classes)

    def forward(self, images):
        return self.head(self.conv(images).amax(dim=(2, 3)))


class Child(Plain):
    def __init__(self, image_size, norm=nn.BatchNorm2d, **kwargs):
        super().__init__(**kwargs)
        self.image_size = image_size


class Fixed(Plain):
    def __init__(self):
        super().__init__(7)


class Unfinished(Plain):
    def forward(self, images):
        raise ValueError("no forward")


class Wide(Plain):
    def __init__(self, num_classes, num_channels: int = 5):
        super().__init__(num_classes, width=num_channels)


def build(num_classes: int, image_shape, dropout: float = None, strange: "Nowhere" = 1):
    module = Plain(num_classes, image_shape[0])
    module.image_shape, module.dropout = image_shape, dropout
    return module


def nothing(num_classes):
    return num_classes


class Maker:
    def __call__(self, num_classes: int, in_channels: int):
        return Plain(num_classes, in_channels)


narrow = functools.partial(Plain, width=3)
make = Maker()
network = Plain(10)
NAMES = ["Plain"]
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(FILE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def class_of(name: str) -> Any:
    return model_class(find("models", name))


def names_of(cls: type) -> list[str]:
    return list(inspect.signature(vars(cls)["__init__"]).parameters)[1:]


def test_models_have_their_own_class():
    assert class_of("cnn-small") is CNNSmall
    with pytest.raises(UserError, match="abstract"):
        class_of("capsbench.contracts:Model")


def test_parameters_are_fitted_by_name(folder):
    cls = class_of("nets.py:Plain")
    assert cls.__name__ == "Plain"
    assert issubclass(cls, LogitsModel)
    assert names_of(cls) == [
        *("image_shape", "num_classes", "width", "sizes", "output_key", "mean", "std")
    ]
    model = cls(image_shape=(2, 9, 9), num_classes=5)
    assert (model.module.conv.in_channels, model.module.head.out_features) == (2, 5)
    assert model.fitted == {"n_classes": 5, "in_channels": 2}
    child = class_of("nets.py:Child")
    assert "norm" not in names_of(child)  # a default that JSON cannot represent
    assert child(image_shape=(1, 9, 9), num_classes=5, width=3).module.image_size == 9
    assert child(image_shape=(1, 9, 8), num_classes=5).module.image_size == (9, 8)
    wide = class_of("nets.py:Wide")(image_shape=(1, 9, 9), num_classes=5)
    assert wide.module.conv.out_channels == 5
    narrow = class_of("nets.py:narrow")(image_shape=(1, 9, 9), num_classes=5)
    assert narrow.module.conv.weight.shape == (3, 1, 3, 3)
    assert class_of("nets.py:make")(image_shape=(2, 9, 9), num_classes=5).fitted["in_channels"] == 2
    built = class_of("nets.py:build")(image_shape=(1, 9, 9), num_classes=5)
    assert built.module.image_shape == (1, 9, 9)


def test_arguments_are_plain_values_that_a_record_restores(folder):
    cls = class_of("nets.py:Plain")
    given = resolve(cls, {"width": 6}, what="net", supplied=SUPPLIED_TO_MODELS)
    expected = {"width": 6, "sizes": [3, 3], "output_key": None, "mean": None, "std": None}
    assert given == expected
    assert cls(image_shape=(1, 9, 9), num_classes=5, **given).module.conv.out_channels == 6
    with pytest.raises(UserError, match=r"width.*whole number"):
        resolve(cls, {"width": "wide"}, what="net", supplied=SUPPLIED_TO_MODELS)
    with pytest.raises(UserError, match="did you mean 'width'"):
        resolve(cls, {"widht": 6}, what="net", supplied=SUPPLIED_TO_MODELS)
    # None does not satisfy the annotation, and another one names nothing: plain values are taken.
    resolve(class_of("nets.py:build"), {"dropout": 0.5}, what="net", supplied=SUPPLIED_TO_MODELS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nets.py:Fixed", r"logits of shape \(1, 10\)"),
        ("nets.py:Unfinished", "ValueError: no forward"),
        ("nets.py:nothing", "expected a torch.nn.Module, got a int"),
        ("nets.py:network", "is an instance"),
        ("nets.py:NAMES", "expected a subclass"),
        ("nets.py:Nowhere", "no class 'Nowhere'"),
        ("timm:resnet10x", "unknown network of timm"),
    ],
)
def test_what_cannot_be_trained_is_refused(folder, name, message):
    with pytest.raises(UserError, match=message):
        class_of(name)(image_shape=(1, 9, 9), num_classes=10)


def test_copies_pickles_and_folders_keep_class_and_weights(folder, monkeypatch, tmp_path):
    model = class_of("nets.py:Child")(image_shape=(1, 9, 9), num_classes=5, mean=(0.5,)).eval()
    images = torch.rand(3, 1, 9, 9)
    model.save_pretrained(folder / "weights")
    card = (folder / "weights" / "README.md").read_text(encoding="utf-8")
    assert 'model_class(find("models", "nets.py:Child")).from_pretrained' in card
    assert str(folder) not in card
    assert json.loads((folder / "weights" / "config.json").read_text())["mean"] == [0.5]
    pickled = pickle.dumps(model)
    monkeypatch.chdir(tmp_path.parent)
    for other in (
        copy.deepcopy(model),
        pickle.loads(pickled),  # noqa: S301 - made above
        type(model).from_pretrained(folder / "weights"),
    ):
        assert type(other) is type(model)
        assert torch.equal(other(images).scores, model(images).scores)


def test_resnet18_of_torchvision_on_grey_images():
    cls = class_of(RESNET)
    torch.manual_seed(0)
    model = cls(image_shape=(1, 28, 28), num_classes=10, kwargs={"zero_init_residual": True}).eval()
    torch.manual_seed(0)
    bare = torchvision.models.resnet18(num_classes=10, zero_init_residual=True).eval()
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(model(images).scores, bare(images.expand(-1, 3, -1, -1)))
    with pytest.raises(UserError, match="cannot be built"):
        cls(image_shape=(1, 28, 28), num_classes=10, weights="NOWHERE")
    with pytest.raises(UserError, match="cannot classify images of 1x4x4"):
        class_of("torchvision.models:squeezenet1_1")(image_shape=(1, 4, 4), num_classes=10)


def test_a_size_behind_keywords_is_fitted(folder):
    code = """
from torch import nn


class Sized(nn.Module):
    def __init__(self, image_size, num_classes):
        super().__init__()
        self.classes = nn.Linear(image_size**2, num_classes)

    def forward(self, images):
        return self.classes(images.flatten(1))


def sized(**keywords):
    return Sized(**{"image_size": 224, **keywords})
"""
    (folder / "sized.py").write_text(code, encoding="utf-8")
    model = class_of("sized.py:sized")(image_shape=(1, 9, 9), num_classes=5)
    assert model.fitted == {"num_classes": 5, "image_size": 9}


@needs_timm
def test_resnet10t_of_timm_is_built_for_the_images():
    import timm

    torch.manual_seed(0)
    model = class_of("timm:resnet10t")(image_shape=(1, 28, 28), num_classes=10).eval()
    torch.manual_seed(0)
    bare = timm.create_model("resnet10t", num_classes=10, in_chans=1).eval()
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(model(images).scores, bare(images))
    assert model.fitted == {"num_classes": 10, "in_chans": 1}
    with pytest.raises(UserError, match="did you mean 'resnet10t'"):
        class_of("timm:resnet10tt")


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'capsbench\[timm\]'"):
        class_of("timm:resnet10t")


def test_a_plain_network_satisfies_the_contract(folder):
    subject = Subject(class_of("nets.py:Plain"), image_shape=(1, 12, 12))
    results = {result.check: result for result in check_contract(subject)}
    assert [each for each in results.values() if each.status == "failed"] == []
    unknown = {name for name, each in results.items() if each.status == "not applicable"}
    assert {"image shapes", "smallest size"} <= unknown


def test_a_residual_branch_that_begins_at_zero_learns_after_a_step():
    class Gated(LogitsModel):
        def __init__(self, *, image_shape, num_classes):
            super().__init__(_Gated(), image_shape=image_shape, num_classes=num_classes)

    result = run_check(gradients, Subject(Gated, image_shape=(1, 6, 6)))
    assert result.status == "passed", result.detail


class _Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.gate = nn.Linear(36, 10), nn.Parameter(torch.zeros(()))
        self.outer = nn.Linear(36, 10)

    def forward(self, images):
        rows = images.flatten(1)
        return self.outer(rows) + self.gate * self.inner(rows)
