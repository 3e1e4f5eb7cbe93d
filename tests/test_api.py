"""`import capsbench`: public names at their first use, lists of names, and classes by name."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError, create_model
from torch import nn

import capsbench
from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError
from capsbench.viewpoint.ranges import ViewRange

ROOT = Path(__file__).resolve().parents[1]
TABLE = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
PUBLIC = {
    *("run", "evaluate", "load_results"),
    *("list_models", "list_datamodules", "list_benchmarks", "list_measures"),
    *("create_model", "create_datamodule"),
    *("Task", "Recipe", "ViewRange", "__version__"),
}
SUBMODULES = {"models", "datamodules", "errors"}
SHAPE: dict[str, Any] = {"image_shape": (1, 28, 28), "num_classes": 10}


def test_dir_lists_the_public_names():
    assert set(dir(capsbench)) == set(vars(capsbench)["__all__"]) == PUBLIC | SUBMODULES


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_resolves(name):
    value = getattr(capsbench, name)
    assert isinstance(value, str) if name == "__version__" else value.__name__ == name


@pytest.mark.parametrize("module", ["capsbench", "capsbench.models", "capsbench.datamodules"])
def test_an_unknown_name_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match="CapsNetDX"):
        _ = importlib.import_module(module).CapsNetDX


def test_imports_listings_and_dir_import_no_torch():
    program = """
import sys
import capsbench
assert issubclass(capsbench.errors.UserError, Exception)
print(*map(len, (dir(capsbench), dir(capsbench.models), dir(capsbench.datamodules))))
print(len(capsbench.list_models() + capsbench.list_datamodules() + capsbench.list_measures()))
capsbench.list_benchmarks()
assert capsbench.ViewRange(rotation=(-15, 15)).rotation is not None
heavy = {"torch", "pytorch_lightning", "kornia", "matplotlib", "pandas", "rich"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_classes_are_attributes_of_the_submodules():
    program = "import capsbench; capsbench.models.CNNSmall, capsbench.datamodules.Digits"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("kind", ["models", "datamodules"])
def test_a_collection_offers_exactly_the_classes_of_the_entry_points(kind):
    package = importlib.import_module(f"capsbench.{kind}")
    entries = [value.split(":") for value in TABLE[f"capsbench.{kind}"].values()]
    assert dir(package) == sorted(cls for _, cls in entries)
    for module, cls in entries:
        assert getattr(package, cls) is getattr(importlib.import_module(module), cls)


@pytest.mark.parametrize("kind", ["models", "datamodules", "benchmarks", "measures"])
def test_lists_are_those_of_the_entry_points(kind):
    names = getattr(capsbench, f"list_{kind}")
    assert set(names()) >= set(TABLE[f"capsbench.{kind}"])  # a plug-in may add some
    assert names() == sorted(names())
    assert names(filter="*m*") == [name for name in names() if "m" in name]
    assert names("nothing") == []


def test_create_model_converts_and_checks_arguments():
    given: dict[str, Any] = {"image_shape": [1, 28, 28], "num_classes": 4, "width": 3}
    model = capsbench.create_model("cnn-small", **given)
    assert isinstance(model, Model)
    assert (model.image_shape, model.num_classes) == ((1, 28, 28), 4)
    assert next(model.parameters()).shape[0] == 3


def test_create_model_takes_files_and_networks_of_libraries(tiny_file):
    tiny = capsbench.create_model(f"{tiny_file}:Tiny", **SHAPE, rate=0.5)
    assert isinstance(tiny, Model)
    assert [each.p for each in tiny.modules() if isinstance(each, nn.Dropout)] == [0.5]
    resnet = capsbench.create_model("torchvision.models:resnet18", **SHAPE)
    assert isinstance(resnet, Model)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("capsnet-d", {}, "did you mean 'capsnet-dr'"),
        ("cnn-small", {"widht": 3}, "'widht'; did you mean 'width'"),
        ("cnn-small", {"width": "wide"}, "width: .*whole number"),
        ("cnn-small", {"image_shape": (28, 28)}, "image_shape"),
        ("nowhere.py:Net", {}, "no file 'nowhere.py'"),
    ],
)
def test_create_model_refuses_in_one_sentence(name, arguments, words):
    with pytest.raises(UserError, match=words):
        capsbench.create_model(name, **(SHAPE | arguments))


@pytest.mark.parametrize(
    ("schema", "given", "words"),
    [
        ("Recipe", {"learning_rate": -1}, r"Recipe: learning_rate: .*got -1"),
        ("Recipe", {"learning_rat": 1}, "did you mean 'learning_rate'"),
        ("Recipe", {"steps": 3}, r"Recipe: 'steps' .*max_steps"),
        ("ViewRange", {"rotation": "a"}, r"ViewRange: rotation.*'a'"),
        ("ViewRange", {"rotations": 15}, "did you mean 'rotation'"),
    ],
)
def test_a_schema_is_refused_in_one_sentence_and_in_a_file_with_its_place(schema, given, words):
    cls = getattr(capsbench, schema)
    with pytest.raises(UserError, match=words) as caught:
        cls(**given)
    assert "\n" not in str(caught.value)

    file = create_model("File", section=(cls, ...))
    with pytest.raises(ValidationError) as refused:
        file.model_validate({"section": given})
    assert refused.value.errors()[0]["loc"][0] == "section"


def test_create_datamodule():
    data = capsbench.create_datamodule("digits", views={"rotation": (-15, 15)}, batch_size=32)
    assert isinstance(data, ImageDataModule)
    assert data.views == ViewRange(rotation=(-15, 15))
    assert data.batch_size == 32
    for arguments, words in (
        ({"batch_sizes": 3}, "did you mean 'batch_size'"),
        ({"views": {"azimuth": (-15, 15)}}, "azimuth"),
    ):
        with pytest.raises(UserError, match=words):
            capsbench.create_datamodule("digits", **arguments)
